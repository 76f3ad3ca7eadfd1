"""The rqt perspective and the Foxglove layout: what they plot and call is there."""

import ast
import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from salus_ros.interface_table import SERVICES, TOPICS

ROOT = Path(__file__).resolve().parents[2]
TYPES = {topic.name: topic.type for topic in TOPICS}


@pytest.fixture(scope="module")
def layouts():
    spec = spec_from_file_location("layouts", ROOT / "docs" / "layouts.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_up_to_date(layouts):
    assert layouts.FOXGLOVE.read_text() == layouts.foxglove_layout(), "run: docs/layouts.py"
    assert layouts.RQT.read_text() == layouts.rqt_perspective(), "run: docs/layouts.py"


def numeric(topic, field):
    pytest.importorskip("rclpy", reason="needs ROS: run `make build`")
    package, _, name = TYPES[topic].split("/")
    module = __import__(f"{package}.msg", fromlist=[name])
    kind = getattr(module, name).get_fields_and_field_types()[field.partition("[")[0]]
    assert ("[" in field) == kind.startswith("sequence<"), (topic, field, kind)
    return re.search(r"float|double|int", kind)


def test_every_plotted_field_is_a_number_of_its_message(layouts):
    panels = json.loads(layouts.FOXGLOVE.read_text())["configById"]
    paths = [path["value"] for panel in panels.values() for path in panel.get("paths", [])]
    assert len(paths) > 20
    for path in paths:
        topic, _, field = path.partition(".")
        assert numeric(topic, field), path
    manager = json.loads(layouts.RQT.read_text())["groups"]["pluginmanager"]
    for name, group in manager["groups"].items():
        keys = group["groups"]["plugin"]["keys"]
        if "Plot" in name:
            for path in ast.literal_eval(keys["topics"]["repr"]):
                topic, _, field = path.rpartition("/")
                assert numeric(topic, field), path


def test_every_panel_is_laid_out_once_and_services_are_there(layouts):
    content = json.loads(layouts.FOXGLOVE.read_text())

    def leaves(node):
        if isinstance(node, str):
            return [node]
        return leaves(node["first"]) + leaves(node["second"])

    assert sorted(leaves(content["layout"])) == sorted(content["configById"])
    called = {p["serviceName"] for p in content["configById"].values() if "serviceName" in p}
    assert called <= {service.name for service in SERVICES}
    shown = {p["topicPath"] for p in content["configById"].values() if "topicPath" in p}
    assert shown <= set(TYPES)


def test_rqts_plugins_and_their_settings_fit(layouts):
    manager = json.loads(layouts.RQT.read_text())["groups"]["pluginmanager"]
    running = ast.literal_eval(manager["keys"]["running-plugins"]["repr"])
    instances = {
        f"plugin__{plugin.replace('/', '__')}__{number}"
        for plugin, numbers in running.items()
        for number in numbers
    }
    assert set(manager["groups"]) <= instances
