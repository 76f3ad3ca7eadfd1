"""The supervisor's commands as serialized messages."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from sensor_msgs.msg import JointState

from salus_ros.interfaces import JointCommand
from salus_ros.nodes.joint_form import JointForm

_NUMBER = struct.Struct("<d")


class CommandMessage:
    """Positions and velocities; between two of them a cubic Hermite curve is meant."""

    def __init__(self, joint_names: Sequence[str], gripper_name: str) -> None:
        self._arm = _form(joint_names)
        self._with_gripper = _form([*joint_names, gripper_name])

    def serialized(self, command: JointCommand) -> bytes:
        """The message of a command."""
        positions, velocities = command.positions.tobytes(), command.velocities.tobytes()
        if command.gripper is None:
            return self._arm.filled(command.stamp, position=positions, velocity=velocities)
        return self._with_gripper.filled(
            command.stamp,
            position=positions + _NUMBER.pack(command.gripper),
            velocity=velocities + _NUMBER.pack(0.0),
        )


def _form(names: Sequence[str]) -> JointForm:
    zeros = [0.0] * len(names)
    return JointForm(JointState(name=list(names), position=zeros, velocity=zeros))
