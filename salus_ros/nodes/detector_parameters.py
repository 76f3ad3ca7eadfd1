"""The supervisor's detectors (check 8) as ROS parameters: their calibration, what an alarm does."""

from __future__ import annotations

from pathlib import Path

from salus_ros.nodes.managed_node import ManagedNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.resources import config_file
from salus_ros.supervision.detector_guard import ACTIONS, HOLD, Detectors, make_detectors
from salus_ros.supervision.detectors import load_calibration
from salus_ros.supervision.detectors.models import SEQUENCE_DETECTORS

CALIBRATION = Parameter(
    "detector_calibration",
    "",
    "Calibration of the detectors: a path, or a file in config/; empty: steps aren't scored.",
)
ROBOT = Parameter("detector_robot", "panda", "Robot that the detectors' calibration must be of.")
DETECTOR_PARAMETERS = (
    CALIBRATION,
    ROBOT,
    *(
        Parameter(f"detector_{name}", HOLD, f"What an alarm of {name} does.", choices=ACTIONS)
        for name in SEQUENCE_DETECTORS
    ),
)


def load_detectors(node: ManagedNode, columns: tuple[str, ...]) -> Detectors | None:
    """Detectors as the node's parameters say; None, with a warning, where there are to be none.

    columns: names of the action's dimensions. Raises DetectorError or FileNotFoundError, in one
    line, for a calibration that can't be used: there is no going on without it.
    """
    name = node.parameter(CALIBRATION.name)
    if not name:
        node.get_logger().warning(
            "no detector_calibration: steps of the policy aren't scored (check 8); make one: "
            "salus calibrate supervisor"
        )
        return None
    calibration = load_calibration(Path(name) if Path(name).is_file() else config_file(name))
    calibration.require(node.parameter(ROBOT.name), columns)
    actions = {d: node.parameter(f"detector_{d}") for d in SEQUENCE_DETECTORS}
    return make_detectors(calibration, actions)
