"""Between trajectories, bare positions and the plain types of `salus_ros.interfaces`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMessage
from trajectory_msgs.msg import JointTrajectoryPoint

from salus_ros.interfaces import NANOSECONDS, JointCommand, seconds
from salus_ros.nodes.conversions import stamp_of, time_message
from salus_ros.supervision.trajectory_plan import Waypoints


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


def waypoints(message: JointTrajectoryMessage, most: int) -> Waypoints:
    """Points of a trajectory, as received; a stamp of zero is kept, it means "now".

    Raises ValueError where there are none, or more than `most`, or they differ in size.
    """
    points, joints = message.points, len(message.joint_names)
    if not 1 <= len(points) <= most:
        raise ValueError(f"the trajectory has {len(points)} points: give 1 to {most}")
    for number, point in enumerate(points):
        if len(point.positions) != joints or len(point.velocities) not in (0, joints):
            raise ValueError(
                f"point {number} has {len(point.positions)} positions and "
                f"{len(point.velocities)} velocities for {joints} joints"
            )
    moving = all(len(point.velocities) == joints for point in points)
    times = [stamp_of(point.time_from_start) for point in points]
    return Waypoints(
        stamp=stamp_of(message.header.stamp),
        names=tuple(message.joint_names),
        times=np.array([seconds(time) for time in times]),
        positions=np.array([point.positions for point in points], np.float64),
        velocities=np.array([point.velocities for point in points]) if moving else None,
    )
