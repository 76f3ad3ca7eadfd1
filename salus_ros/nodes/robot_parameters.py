"""Parameters that name the robot's joints and limits, shared by the nodes that use them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from salus_ros.nodes.parameters import Parameter
from salus_ros.resources import config_file
from salus_ros.supervision.limits import RobotLimits, load_limits

if TYPE_CHECKING:
    from salus_ros.nodes.base_node import NodeBasics

JOINT_NAMES = [f"panda_joint{i}" for i in range(1, 8)]

ROBOT_PARAMETERS = (
    Parameter("joint_names", JOINT_NAMES, "Arm joints, in the order of all vectors."),
    Parameter("gripper_name", "panda_gripper", "Name of the gripper joint; empty: no gripper."),
)
LIMITS = Parameter(
    "limits",
    "panda_joint_limits.yaml",
    "Joint limits in ros2_control's form: a path, or a file in config/.",
)


def load_robot_limits(node: NodeBasics) -> RobotLimits:
    """Limits of the node's robot. Raises LimitsError or FileNotFoundError, in one line."""
    name = node.parameter("limits")
    path = Path(name) if Path(name).is_file() else config_file(name)
    return load_limits(path, node.parameter("joint_names"), node.parameter("gripper_name"))
