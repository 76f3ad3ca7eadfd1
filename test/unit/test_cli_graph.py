"""Checks before the graph is started."""

import socket

import pytest

from salus_ros.cli.errors import UserError
from salus_ros.cli.graph import chosen_domain, parameter_file, use_free_domain


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("safety_superviser:\n  ros__parameters: {}\n", "unknown node 'safety_superviser'; known:"),
        ("sim_rig:\n  image_size: 3\n", "'sim_rig' lacks ros__parameters"),
        ("- a\n", "holds no parameters"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_wrong_parameter_file_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "p.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=says) as error:
        parameter_file(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["sim_panda", "fr3.yaml"])
def test_shipped_parameter_files_are_found_by_name(name):
    assert parameter_file(name).is_file()


@pytest.mark.parametrize("text", ["", "a", "-1", "233"])
def test_a_domain_out_of_range_is_refused(monkeypatch, text):
    monkeypatch.setenv("ROS_DOMAIN_ID", text)
    with pytest.raises(UserError, match="give a number from 0 to 232"):
        chosen_domain()


def test_a_domain_in_use_is_passed_over(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    first = use_free_domain()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 7400 + 250 * first + 10))
        assert use_free_domain() > first
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
