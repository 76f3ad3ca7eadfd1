"""A parameter file of the graph, read without ROS: what replay takes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salus_ros.replay.errors import BagError
from salus_ros.supervision.config import RANGES
from salus_ros.supervision.detectors.models import SEQUENCE_DETECTORS
from salus_ros.supervision.errors import LimitsError
from salus_ros.supervision.yaml_file import read_yaml

SUPERVISOR, SIGNALS, PREDICTOR = "safety_supervisor", "signal_publisher", "failure_predictor"
POLICY = "vla_policy"

_ROBOT = {
    "joint_names": [f"panda_joint{i}" for i in range(1, 8)],
    "gripper_name": "panda_gripper",
    "limits": "panda_joint_limits.yaml",
}
# Parameters that replay uses, with the nodes' defaults (a test compares).
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    SUPERVISOR: {
        **_ROBOT,
        "input": "action_chunk",
        "target_age": 0.1,
        "require_enable": False,
        "require_robot": False,
        "workspace": "panda_workspace.yaml",
        "detector_calibration": "",
        "detector_robot": "panda",
        **{f"detector_{name}": "hold" for name in SEQUENCE_DETECTORS},
        "require_prediction": True,
        "require_manager": True,
        "prediction_age": 0.5,
        "manager_age": 2.0,
    },
    SIGNALS: {**_ROBOT, "calibration": "", "joint_lag": 0.0, "robot": "panda", "window": 10},
    PREDICTOR: {"checkpoint": "", "signal_age": 2.5},
    POLICY: {
        "merging": "latest",
        "execution_horizon": 10,
        "rtc_schedule": "exp",
        "latency_percentile": 95.0,
        "joint_state_age": 0.1,
        "image_age": 0.5,
    },
}
# Parameters of the nodes that have no meaning in a replay.
OF_NO_USE: Mapping[str, frozenset[str]] = {
    SUPERVISOR: frozenset(
        {
            "limits_from_urdf",
            "urdf_timeout",
            "robot_description_topic",
            "output",
            "command_topic",
            "controller_rate",
            "trajectory_lead",
            "discovery_time",
            "realtime_priority",
        }
    ),
    SIGNALS: frozenset({"poll_rate"}),
    PREDICTOR: frozenset(),
}
# Nodes with parameters of their policy's own, which --policy-options gives.
_OPEN = frozenset({POLICY})
_EVERYWHERE = frozenset({"use_sim_time", "start_type_description_service"})
_JOURNAL = "journal_"


class NodeParameters:
    """The parameters of one node: the file's, else the defaults."""

    def __init__(self, node: str, content: Mapping[str, Any], source: str) -> None:
        self._node, self._source = node, source
        self._given: dict[str, Any] = {}
        for section in ("/**", node):
            part = (content.get(section) or {}).get("ros__parameters") or {}
            self._given |= {n: v for n, v in part.items() if section == node or self._knows(n)}
        unknown = sorted(name for name in self._given if not self._knows(name))
        if unknown:
            raise BagError(f"{source}: {node} has no parameter '{unknown[0]}'")

    def _knows(self, name: str) -> bool:
        node = self._node
        gate = node == SUPERVISOR and (name in RANGES or name.startswith(_JOURNAL))
        known = node in _OPEN or name in OF_NO_USE[node] | _EVERYWHERE
        return gate or known or name in DEFAULTS[node]

    def __getitem__(self, name: str) -> Any:
        """A parameter that isn't one of the gate's. Raises BagError for a value of another type."""
        default = DEFAULTS[self._node][name]
        value = self._given.get(name, default)
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            raise BagError(
                f"{self._source}: {name} is {value!r}: a {type(default).__name__} is needed"
            )
        return value

    def all(self) -> dict[str, Any]:
        """All that replay uses of the node."""
        return {name: self[name] for name in DEFAULTS[self._node]}

    def gate(self) -> dict[str, Any]:
        """Those of the gate that are given, by the names of GateConfig."""
        return {name: self._given[name] for name in RANGES if name in self._given}


def read_parameters(path: Path) -> Mapping[str, Any]:
    """Content of a parameter file. Raises BagError, one line."""
    try:
        content = read_yaml(path)
    except LimitsError as error:
        raise BagError(error) from None
    if not isinstance(content, Mapping) or not all(
        part is None or isinstance(part, Mapping) for part in content.values()
    ):
        raise BagError(f"{path}: no ROS parameter file: node, then ros__parameters")
    return content
