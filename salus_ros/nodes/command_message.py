"""Commands as the bytes of a JointState: serialized once, then each command's numbers put in.

rclpy takes bytes as they are. To fill a message and have it serialized takes a tick some ten times
as long.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

from salus_ros.interfaces import NANOSECONDS, JointCommand
from salus_ros.nodes.conversions import time_message

_STAMP = struct.Struct("<iI")
_NUMBER = struct.Struct("<d")
# Values whose bytes can't be anything else's: where they are found, a command's go.
_MARKED_STAMP = 305419896 * NANOSECONDS + 591751049
_MARKED_NUMBER = 1.2345678901e-123


class CommandMessage:
    """Positions and velocities; between two of them a cubic Hermite curve is meant."""

    def __init__(self, joint_names: Sequence[str], gripper_name: str) -> None:
        self._arm = _Form(joint_names)
        self._with_gripper = _Form([*joint_names, gripper_name])

    def serialized(self, command: JointCommand) -> bytes:
        """The message of a command."""
        positions, velocities = command.positions.tobytes(), command.velocities.tobytes()
        if command.gripper is None:
            return self._arm.filled(command.stamp, positions, velocities)
        width = _NUMBER.pack(command.gripper)
        return self._with_gripper.filled(
            command.stamp, positions + width, velocities + _NUMBER.pack(0.0)
        )


class _Form:
    """A message of these joints, and the places in it where numbers stand."""

    def __init__(self, names: Sequence[str]) -> None:
        positions = [_MARKED_NUMBER * (2 * k + 1) for k in range(len(names))]
        velocities = [_MARKED_NUMBER * (2 * k + 2) for k in range(len(names))]
        message = JointState(name=list(names), position=positions, velocity=velocities)
        message.header.stamp = time_message(_MARKED_STAMP)
        self._data = bytearray(serialize_message(message))
        self._stamp = self._place(_STAMP.pack(*divmod(_MARKED_STAMP, NANOSECONDS)))
        self._positions = self._place(struct.pack(f"<{len(names)}d", *positions))
        self._velocities = self._place(struct.pack(f"<{len(names)}d", *velocities))

    def _place(self, marked: bytes) -> slice:
        if self._data.count(marked) != 1:
            raise RuntimeError(
                "this middleware doesn't encode messages in little-endian CDR: use another RMW"
            )
        begin = self._data.index(marked)
        return slice(begin, begin + len(marked))

    def filled(self, stamp: int, positions: bytes, velocities: bytes) -> bytes:
        """With a command's numbers; stamp [ns]."""
        if len(positions) != self._positions.stop - self._positions.start:
            raise ValueError(f"a command of {len(positions) // _NUMBER.size} joints")
        data = self._data
        data[self._stamp] = _STAMP.pack(*divmod(stamp, NANOSECONDS))
        data[self._positions], data[self._velocities] = positions, velocities
        return bytes(data)
