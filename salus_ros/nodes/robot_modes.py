"""RobotMode messages as what the supervisor takes in."""

from __future__ import annotations

from salus_msgs.msg import RobotMode as RobotModeMessage

from salus_ros.supervision.robot_guard import RobotReport

# Modes in which a robot may move along the command, though it doesn't say that it is ready.
MAY_FOLLOW = (
    RobotModeMessage.MODE_MOVE,
    RobotModeMessage.MODE_OTHER,
    RobotModeMessage.MODE_UNKNOWN,
)


def robot_report(message: RobotModeMessage) -> RobotReport:
    """What the robot's driver says of it."""
    released = not message.ready and message.mode not in MAY_FOLLOW
    return RobotReport(message.ready, message.text, released)
