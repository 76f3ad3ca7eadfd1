"""What the supervisor sends to the robot, and where to: its parameter `output`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState as JointStateMessage
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMessage

from salus_ros.interfaces import Instant, JointCommand
from salus_ros.nodes import topics, trajectory_conversions
from salus_ros.nodes.command_message import CommandMessage
from salus_ros.nodes.managed_node import ConfigurationError, ManagedNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.supervision.adapters import (
    FLOAT64_MULTI_ARRAY,
    INTERPOLATION,
    JOINT_STATE,
    JOINT_TRAJECTORY,
    TrajectoryPoints,
    check_adapter,
)

OUTPUT_PARAMETERS = (
    Parameter(
        "output",
        JOINT_STATE,
        "Message for the robot's controller: joint_state (positions, velocities: cubics), "
        "joint_trajectory (with accelerations: quintics), float64_multi_array (positions alone: "
        "only at the controller's own rate).",
        choices=tuple(INTERPOLATION),
    ),
    Parameter(
        "command_topic",
        "",
        "Where joint_trajectory or float64_multi_array goes, beside the JointState on "
        f"{topics.JOINT_COMMANDS}; empty: {topics.TRAJECTORY_COMMANDS} or "
        f"{topics.POSITION_COMMANDS}.",
    ),
    Parameter(
        "controller_rate",
        0.0,
        "Rate of the robot's own control loop [Hz], for output float64_multi_array; 0: unknown.",
        0.0,
        10_000.0,
    ),
    Parameter(
        "trajectory_lead",
        2,
        "For output joint_trajectory: ticks between a command and when it is due. A message may be "
        "late by one less; each delays the arm by a tick.",
        1,
        20,
    ),
)

TOPICS = {
    JOINT_TRAJECTORY: topics.TRAJECTORY_COMMANDS,
    FLOAT64_MULTI_ARRAY: topics.POSITION_COMMANDS,
}
KINDS: dict[str, type] = {
    JOINT_TRAJECTORY: JointTrajectoryMessage,
    FLOAT64_MULTI_ARRAY: Float64MultiArray,
}


class CommandOutput:
    """Publishes commands. The JointState on /joint_commands always: signals and recorders read it,
    and the gripper's command is only there.

    topics: all that it publishes on.
    """

    def __init__(self, node: ManagedNode, joint_names: Sequence[str], gripper_name: str) -> None:
        """Raises LimitsError or ConfigurationError, one line, for parameters that can't be."""
        self._node = node
        self._names = joint_names
        self._message = CommandMessage(joint_names, gripper_name)
        self._output = node.parameter("output")
        check_adapter(self._output, node.parameter("rate"), node.parameter("controller_rate"))
        topic = node.parameter("command_topic")
        if topic and self._output == JOINT_STATE:
            raise ConfigurationError(
                f"command_topic '{topic}' is of no use with output joint_state, which goes to "
                f"{topics.JOINT_COMMANDS}: leave it empty, or remap that topic"
            )
        own = topic or TOPICS.get(self._output, "")
        self.topics = (topics.JOINT_COMMANDS, *([own] if own else []))

    def open(self, period: int, profile: QoSProfile) -> None:
        """Make the publishers, until the opposite transition; period of a tick [ns]."""
        node = self._node
        self._commands = node.publish_on(JointStateMessage, topics.JOINT_COMMANDS, profile)
        self._also: Callable[[JointCommand, Instant], None] | None = None
        if self._output == JOINT_STATE:
            return
        publisher = node.publish_on(KINDS[self._output], self.topics[-1], profile)
        if self._output == FLOAT64_MULTI_ARRAY:
            self._also = _positions_sender(publisher)
        else:
            points = TrajectoryPoints(period, node.parameter("trajectory_lead"))
            self._also = _trajectory_sender(publisher, points, period, self._names)

    def send(self, command: JointCommand, now: Instant) -> None:
        """Publish a tick's command."""
        self._commands.publish(self._message.serialized(command))
        if self._also is not None:
            self._also(command, now)


def _positions_sender(publisher: Publisher) -> Callable[[JointCommand, Instant], None]:
    def send(command: JointCommand, _: Instant) -> None:
        publisher.publish(trajectory_conversions.positions_message(command))

    return send


def _trajectory_sender(
    publisher: Publisher, points: TrajectoryPoints, period: int, joint_names: Sequence[str]
) -> Callable[[JointCommand, Instant], None]:
    def send(command: JointCommand, now: Instant) -> None:
        start, due = points.add(command, now)
        message: Any = trajectory_conversions.trajectory_message(start, due, period, joint_names)
        publisher.publish(message)

    return send
