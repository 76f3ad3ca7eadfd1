"""The rqt perspective and the Foxglove layout: what they plot and call is there."""

import ast
import json
import re
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from salus_ros.interface_table import NODES, SERVICES, TOPICS

ROOT = Path(__file__).resolve().parents[2]
TYPES = {topic.name: topic.type for topic in TOPICS}


@pytest.fixture(scope="module")
def layouts():
    sys.path.insert(0, str(ROOT / "docs"))  # as for a script there
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


def test_every_dock_of_rqts_window_is_one_of_a_plugin(layouts):
    """Its state is Qt's bytes; the names in it are text of two bytes a letter."""
    groups = json.loads(layouts.RQT.read_text())["groups"]
    state = groups["mainwindow"]["keys"]["state"]
    raw = bytes.fromhex(re.search(r"b'([0-9a-f]+)'", state["repr(QByteArray.hex)"]).group(1))
    running = ast.literal_eval(groups["pluginmanager"]["keys"]["running-plugins"]["repr"])
    docks = re.findall(r"rqt_\w+", raw.decode("utf-16-be", errors="replace")) + re.findall(
        r"rqt_\w+", raw[1:].decode("utf-16-be", errors="replace")
    )
    for plugin, numbers in running.items():
        for number in numbers:
            prefix = f"{plugin.replace('/', '__')}__{number}__"
            assert sum(dock.startswith(prefix) for dock in docks) == 1, prefix


@pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed: make build")
def test_every_number_of_a_parameter_fits_rqts_sliders():
    """They are of 32 bits; rqt_reconfigure shows none of those after one that isn't."""
    for node in NODES:
        for parameter in import_module(f"salus_ros.nodes.{node}").PARAMETERS:
            if isinstance(parameter.default, int):
                for value in (parameter.default, parameter.minimum or 0, parameter.maximum or 0):
                    assert abs(value) < 2**31, (node, parameter.name)
