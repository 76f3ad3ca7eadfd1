"""Limits from the URDF that robot_state_publisher keeps on /robot_description."""

from __future__ import annotations

from rclpy.wait_for_message import wait_for_message
from std_msgs.msg import String

from salus_ros.nodes import qos, topics
from salus_ros.nodes.gate_parameters import with_workspace
from salus_ros.nodes.managed_node import ConfigurationError, ManagedNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.robot_parameters import load_robot_limits
from salus_ros.supervision.limits import RobotLimits, limits_from_urdf, tighter
from salus_ros.supervision.urdf_kinematics import check_kinematics

URDF_PARAMETERS = (
    Parameter(
        "limits_from_urdf",
        False,
        "Take position and velocity limits from the URDF on robot_description_topic, too: "
        "the tighter of both wins. Accelerations and jerks always come from `limits`.",
    ),
    Parameter(
        "robot_description_topic",
        topics.ROBOT_DESCRIPTION,
        "Where the URDF is; another one where the robot's driver has a namespace.",
    ),
    Parameter("urdf_timeout", 5.0, "How long configuring waits for that URDF [s].", 0.1, 60.0),
)


def configured_limits(node: ManagedNode) -> RobotLimits:
    """Limits from the file and, where wanted, the URDF, with the workspace.

    The URDF must then be of an arm whose workspace can be guarded.

    Raises LimitsError, FileNotFoundError or ConfigurationError, in one line: never are limits that
    can't be had left out.
    """
    limits = with_workspace(node, load_robot_limits(node))
    if not node.parameter("limits_from_urdf"):
        return limits
    urdf = _description(node)
    if limits.workspace is not None:
        check_kinematics(urdf, limits.arm.names)
    return tighter(limits, limits_from_urdf(urdf, limits.arm.names))


def _description(node: ManagedNode) -> str:
    topic, timeout = node.parameter("robot_description_topic"), node.parameter("urdf_timeout")
    found, message = wait_for_message(
        String, node, topic, qos_profile=qos.STATE, time_to_wait=timeout
    )
    if not found:
        raise ConfigurationError(
            f"no URDF on {topic} within {timeout:g} s: start "
            "robot_state_publisher, or set limits_from_urdf to false"
        )
    return str(message.data)
