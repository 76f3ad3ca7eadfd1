"""Replay reads parameter files without ROS: it must know the nodes' parameters and defaults."""

import pytest

from salus_ros.nodes import failure_predictor, signal_publisher, supervisor_parameters, vla_policy
from salus_ros.replay.node_parameters import DEFAULTS, OF_NO_USE, POLICY, PREDICTOR, SIGNALS
from salus_ros.replay.node_parameters import SUPERVISOR as SUPERVISOR_NODE
from salus_ros.replay.settings import load_settings
from salus_ros.resources import share_folder
from salus_ros.supervision.config import RANGES, GateConfig

PARAMETERS = {
    SUPERVISOR_NODE: supervisor_parameters.PARAMETERS,
    SIGNALS: signal_publisher.PARAMETERS,
    PREDICTOR: failure_predictor.PARAMETERS,
    POLICY: vla_policy.PARAMETERS,
}


@pytest.mark.parametrize("node", PARAMETERS)
def test_defaults_are_the_nodes_own(node):
    own = {parameter.name: parameter.default for parameter in PARAMETERS[node]}
    assert {name: own.get(name) for name in DEFAULTS[node]} == dict(DEFAULTS[node])


@pytest.mark.parametrize("node", [SUPERVISOR_NODE, SIGNALS, PREDICTOR])
def test_every_parameter_is_known(node):
    gate = set(RANGES) if node == SUPERVISOR_NODE else set()
    known = set(DEFAULTS[node]) | OF_NO_USE[node] | gate
    own = {p.name for p in PARAMETERS[node] if not p.name.startswith("journal_")}
    assert own == known


def test_the_gate_has_no_parameter_beside():
    beside = {"require_enable", "require_robot", "heartbeats"}
    assert set(GateConfig.__dataclass_fields__) == RANGES.keys() | beside


@pytest.mark.parametrize("name", ["sim_panda", "fr3"])
def test_the_shipped_files_are_read(name):
    settings = load_settings(share_folder() / "config" / f"{name}.yaml")
    assert len(settings.joint_names) == 7
