"""Joint states and commands as the bytes that go over the wire, where only numbers change.

Both come up to a thousand times a second, always with the same names. rclpy takes and gives bytes
as they are; to make a message of them, names and all, takes ten times as long.

CDR, the encoding of ROS 2's messages: every number is aligned to its own size, counted from behind
four bytes that tell the encoding; a length comes before each text and list. What alignment skips,
and what Fast DDS leaves behind the end, may hold anything.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState as JointStateMessage

from salus_ros.interfaces import NANOSECONDS, FloatArray, JointState
from salus_ros.nodes import conversions

_LITTLE_ENDIAN = b"\x00\x01"
_ORIGIN = 4
_STAMP = struct.Struct("<iI")
_COUNT = struct.Struct("<I")
_NUMBER = 8  # bytes


class JointForm:
    """The form of JointStates of one frame, with the same names and lengths of lists as `like`."""

    def __init__(self, like: JointStateMessage) -> None:
        self._fixed = [(slice(0, len(_LITTLE_ENDIAN)), _LITTLE_ENDIAN)]
        self._size = _ORIGIN
        self._stamp = self._take(_STAMP.size, 4)
        self._keep_text(like.header.frame_id)
        self._keep(_COUNT.pack(len(like.name)))
        for name in like.name:
            self._keep_text(name)
        self._lists = {
            name: self._take_list(len(getattr(like, name)))
            for name in ("position", "velocity", "effort")
        }

    def _take(self, size: int, alignment: int) -> slice:
        begin = self._size + -(self._size - _ORIGIN) % alignment
        self._size = begin + size
        return slice(begin, self._size)

    def _keep(self, content: bytes) -> None:
        self._fixed.append((self._take(len(content), _COUNT.size), content))

    def _keep_text(self, text: str) -> None:
        content = text.encode() + b"\0"
        self._keep(_COUNT.pack(len(content)) + content)

    def _take_list(self, count: int) -> slice:
        self._keep(_COUNT.pack(count))
        return self._take(count * _NUMBER, _NUMBER if count else 1)

    def fits(self, data: bytes | bytearray) -> bool:
        """Whether a serialized message is of this form."""
        if len(data) < self._size:
            return False
        return all(data[part] == expected for part, expected in self._fixed)

    def stamp(self, data: bytes) -> int:
        """The stamp [ns] of a message of this form."""
        seconds, rest = _STAMP.unpack(data[self._stamp])
        return int(seconds * NANOSECONDS + rest)

    def numbers(self, data: bytes, name: str) -> FloatArray:
        """A list of a message of this form."""
        place = self._lists[name]
        return np.frombuffer(data, "<f8", (place.stop - place.start) // _NUMBER, place.start)

    def fill(self, data: bytearray, stamp: int, **lists: bytes) -> None:
        """Put a stamp [ns] and lists of numbers into a message; ValueError for another size."""
        data[self._stamp] = _STAMP.pack(*divmod(stamp, NANOSECONDS))
        for name, numbers in lists.items():
            place = self._lists[name]
            if len(numbers) != place.stop - place.start:
                raise ValueError(f"{len(numbers) // _NUMBER} values of {name}")
            data[place] = numbers


class JointReader:
    """Joint states from serialized messages, in the order of `joint_names`."""

    def __init__(self, joint_names: Sequence[str], gripper_name: str) -> None:
        self._names, self._gripper = tuple(joint_names), gripper_name
        self._form: JointForm | None = None

    def read(self, data: bytes) -> JointState:
        """As `conversions.joint_state` of the message; ValueError as there, and for other bytes."""
        form = self._form
        if form is None or not form.fits(data):
            return self._read_whole(data)
        positions = form.numbers(data, "position")
        velocities, efforts = form.numbers(data, "velocity"), form.numbers(data, "effort")
        place = self._gripper_place
        return JointState(
            stamp=form.stamp(data),
            positions=positions[self._order],
            velocities=self._ordered(velocities),
            efforts=self._ordered(efforts),
            gripper=None if place is None else float(positions[place]),
        )

    def _ordered(self, numbers: FloatArray) -> FloatArray:
        return numbers[self._order] if len(numbers) else numbers

    def _read_whole(self, data: bytes) -> JointState:
        try:
            message = deserialize_message(data, JointStateMessage)
        except RuntimeError as error:
            raise ValueError(f"joint state of {len(data)} bytes is none: {error}") from error
        state = conversions.joint_state(message, self._names, self._gripper)
        # Of a name that is there twice, the last one counts.
        index = {name: place for place, name in enumerate(message.name)}
        self._order = [index[name] for name in self._names]
        self._gripper_place = index.get(self._gripper)
        self._form = JointForm(message)
        return state
