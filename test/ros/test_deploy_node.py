"""The policy node with a file of `salus compile`."""

import sys
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS: run `make build`")
pytest.importorskip("torch", reason="the policy needs torch: run `make build`")

from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402

from salus_ros.deploy.deployment import write_deployment  # noqa: E402
from salus_ros.deploy.machine import this_machine  # noqa: E402
from salus_ros.policy.description import sha256  # noqa: E402
from salus_ros.policy.flow.checkpoint import WEIGHTS  # noqa: E402
from salus_ros.policy.quantization.linear import LowBitLinear  # noqa: E402

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from flow_policies import saved  # noqa: E402
from test_deploy_files import a_deployment  # noqa: E402

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


@pytest.fixture
def node(tmp_path):
    from salus_ros.nodes.vla_policy import VlaPolicy

    rclpy.init(args=["--ros-args", "-p", f"deploy:={tmp_path / 'deploy.yaml'}"])
    made = VlaPolicy()
    yield made
    made.close()
    made.destroy_node()
    rclpy.shutdown()


def write(tmp_path, **changes):
    folder = tmp_path / "policy"
    saved(folder, width=64, mlp_width=64, expert_mlp_width=64)
    options = {"checkpoint": str(folder), "device": "cpu", "precision": "int8", "flow_steps": 5}
    fields = {"options": options, "digest": sha256(folder / WEIGHTS), **changes}
    write_deployment(tmp_path / "deploy.yaml", a_deployment(**fields))


def test_the_node_runs_the_compiled_configuration(node, tmp_path, capfd):
    write(tmp_path)
    assert node.trigger_configure() == SUCCESS
    layers = [m for m in node._backend.network.modules() if isinstance(m, LowBitLinear)]
    assert layers
    assert "other hardware" not in capfd.readouterr().err


def test_a_file_of_other_hardware_is_loaded_with_a_warning(node, tmp_path, capfd):
    write(tmp_path, hardware={**this_machine(), "cpu": "an Orin"})
    assert node.trigger_configure() == SUCCESS
    assert "compiled on other hardware (cpu was an Orin" in capfd.readouterr().err


def test_a_file_of_other_weights_fails_configure_in_one_line(node, tmp_path, capfd):
    write(tmp_path, digest="0" * 64)
    assert node.trigger_configure() == FAILURE
    assert "other weights" in capfd.readouterr().err


def test_a_file_that_is_none_fails_configure_and_a_good_one_then_works(node, tmp_path, capfd):
    assert node.trigger_configure() == FAILURE
    assert "deploy.yaml can't be read" in capfd.readouterr().err
    write(tmp_path)
    assert node.trigger_configure() == SUCCESS
