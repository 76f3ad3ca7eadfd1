"""Between trajectories, bare positions and the plain types of `salus_ros.interfaces`."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Duration
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMessage
from trajectory_msgs.msg import JointTrajectoryPoint

from salus_ros.interfaces import NANOSECONDS, JointCommand
from salus_ros.nodes.conversions import time_message


def trajectory_message(
    start: int, points: Sequence[JointCommand], period: int, joint_names: Sequence[str]
) -> JointTrajectoryMessage:
    """Commands as points one period [ns] apart, the first one period after `start` [ns].

    Positions, velocities and accelerations of the arm: quintics are meant between the points.
    """
    message = JointTrajectoryMessage(header=Header(stamp=time_message(start)))
    message.joint_names = list(joint_names)
    message.points = [
        JointTrajectoryPoint(
            positions=point.positions.tolist(),
            velocities=point.velocities.tolist(),
            accelerations=point.accelerations.tolist(),
            time_from_start=_duration_message(number * period),
        )
        for number, point in enumerate(points, start=1)
    ]
    return message


def _duration_message(duration: int) -> Duration:
    whole, rest = divmod(duration, NANOSECONDS)
    return Duration(sec=whole, nanosec=rest)


def positions_message(command: JointCommand) -> Float64MultiArray:
    """Positions of the arm's joints alone, for a controller that takes one message a cycle."""
    return Float64MultiArray(data=command.positions.tolist())
