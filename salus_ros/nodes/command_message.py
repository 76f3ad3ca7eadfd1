"""The supervisor's commands as serialized messages."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from salus_ros.interfaces import JointCommand
from salus_ros.nodes.joint_form import JointForm

_NUMBER = struct.Struct("<d")


class CommandMessage:
    """Positions and velocities; between two of them a cubic Hermite curve is meant.

    Each form is serialized once, each command's numbers are put in.
    """

    def __init__(self, joint_names: Sequence[str], gripper_name: str) -> None:
        self._arm = _form(joint_names)
        self._with_gripper = _form([*joint_names, gripper_name])

    def serialized(self, command: JointCommand) -> bytes:
        """The message of a command."""
        positions, velocities = command.positions.tobytes(), command.velocities.tobytes()
        form, data = self._arm
        if command.gripper is not None:
            form, data = self._with_gripper
            positions += _NUMBER.pack(command.gripper)
            velocities += _NUMBER.pack(0.0)
        form.fill(data, command.stamp, position=positions, velocity=velocities)
        return bytes(data)


def _form(names: Sequence[str]) -> tuple[JointForm, bytearray]:
    zeros = [0.0] * len(names)
    message = JointState(name=list(names), position=zeros, velocity=zeros)
    form, data = JointForm(message), bytearray(serialize_message(message))
    if not form.fits(data):
        raise RuntimeError(
            "this middleware doesn't encode messages in little-endian CDR: use another RMW"
        )
    return form, data
