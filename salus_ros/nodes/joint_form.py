"""Joint states and commands as the bytes that go over the wire, where only numbers change.

Both come up to a thousand times a second, always with the same names. rclpy takes and gives bytes
as they are; to make a message of them, names and all, takes ten times as long.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState as JointStateMessage

from salus_ros.interfaces import NANOSECONDS, FloatArray, JointState
from salus_ros.nodes import conversions

_STAMP = struct.Struct("<iI")
# Values whose bytes can't be anything else's: where they are found, others go.
_MARKED_STAMP = 305419896 * NANOSECONDS + 591751049
_MARKED_NUMBER = 1.2345678901e-123
_LISTS = ("position", "velocity", "effort")


class JointForm:
    """The form of JointStates of one frame, with the same names and lists as `like`."""

    def __init__(self, like: JointStateMessage) -> None:
        marked = JointStateMessage(name=list(like.name))
        marked.header.frame_id = like.header.frame_id
        marked.header.stamp = conversions.time_message(_MARKED_STAMP)
        marks: dict[str, bytes] = {}
        for place, name in enumerate(_LISTS):
            numbers = [
                _MARKED_NUMBER * (3 * k + place + 1) for k in range(len(getattr(like, name)))
            ]
            setattr(marked, name, numbers)
            marks[name] = struct.pack(f"<{len(numbers)}d", *numbers)
        self._data = bytearray(serialize_message(marked))
        self._stamp = self._place(_STAMP.pack(*divmod(_MARKED_STAMP, NANOSECONDS)))
        self._lists = {name: self._place(mark) for name, mark in marks.items() if mark}
        self._fixed = self._between([self._stamp, *self._lists.values()])

    def _place(self, mark: bytes) -> slice:
        if self._data.count(mark) != 1:
            raise RuntimeError(
                "this middleware doesn't encode messages in little-endian CDR: use another RMW"
            )
        begin = self._data.index(mark)
        return slice(begin, begin + len(mark))

    def _between(self, places: list[slice]) -> list[tuple[slice, bytes]]:
        """What stands before, between and after places, in their order, the same in each."""
        begins = [0, *(place.stop for place in places)]
        ends = [*(place.start for place in places), len(self._data)]
        parts = [slice(begin, end) for begin, end in zip(begins, ends, strict=True)]
        return [(part, bytes(self._data[part])) for part in parts]

    def fits(self, data: bytes) -> bool:
        """Whether a serialized message is of this form."""
        if len(data) != len(self._data):
            return False
        return all(data[part] == expected for part, expected in self._fixed)

    def stamp(self, data: bytes) -> int:
        """The stamp [ns] of a message of this form."""
        seconds, rest = _STAMP.unpack(data[self._stamp])
        return int(seconds * NANOSECONDS + rest)

    def numbers(self, data: bytes, name: str) -> FloatArray:
        """A list of a message of this form; empty where the form has none."""
        place = self._lists.get(name)
        if place is None:
            return np.empty(0)
        return np.frombuffer(data, "<f8", (place.stop - place.start) // 8, place.start)

    def filled(self, stamp: int, **lists: bytes) -> bytes:
        """A message with this stamp [ns] and these lists; ValueError for one of another size."""
        data = self._data
        data[self._stamp] = _STAMP.pack(*divmod(stamp, NANOSECONDS))
        for name, numbers in lists.items():
            place = self._lists[name]
            if len(numbers) != place.stop - place.start:
                raise ValueError(f"{len(numbers) // 8} values of {name}")
            data[place] = numbers
        return bytes(data)


class JointReader:
    """Joint states from serialized messages, in the order of `joint_names`."""

    def __init__(self, joint_names: Sequence[str], gripper_name: str) -> None:
        self._names, self._gripper = tuple(joint_names), gripper_name
        self._form: JointForm | None = None

    def read(self, data: bytes) -> JointState:
        """As `conversions.joint_state` of the message; raises ValueError as that does."""
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
        message = deserialize_message(data, JointStateMessage)
        state = conversions.joint_state(message, self._names, self._gripper)
        names = list(message.name)
        # Of a name that is there twice, the last one counts.
        index = {name: place for place, name in enumerate(names)}
        self._order = [index[name] for name in self._names]
        self._gripper_place = index.get(self._gripper)
        self._form = JointForm(message)
        return state
