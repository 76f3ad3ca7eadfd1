"""JointState messages straight from their bytes: most of a bag is these, and names don't change.

The first message is read in full; of the next ones only the numbers, as long as everything before
them, and how many there are, is the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from salus_ros.interfaces import NANOSECONDS, JointState

# Encapsulation, seconds, nanoseconds; then the frame's name.
_HEAD: Final = 12
_STAMP: Final = struct.Struct("<iI")
_COUNT: Final = struct.Struct("<I")
_DOUBLE: Final = np.dtype("<f8")
_COLUMNS: Final = ("position", "velocity", "effort")


class _Layout:
    """Where the numbers stand that are wanted.

    All columns are aligned to eight bytes: one array of doubles from the first on has them all, and
    their counts between.
    """

    def __init__(self, data: bytes, names_end: int, names: int) -> None:
        """names_end: where the counts begin. Raises ValueError, one line, for other counts."""
        self.begin = data[_HEAD:names_end]
        self._counts_at, places, counts, starts = names_end, [], [], []
        offset = names_end
        for what in _COLUMNS:
            (count,) = _COUNT.unpack_from(data, offset)
            if count != names and (count or what == "position"):
                raise ValueError(f"joint state names {names} joints but has {count} {what} values")
            places.append(offset)
            counts.append(count)
            offset += 4
            offset += -(offset - 4) % 8 if count else 0
            starts.append(offset)
            offset += 8 * count
        self.start, self._end = starts[0], offset
        self.doubles = (offset - starts[0]) // 8
        self.columns = [
            ((start - starts[0]) // 8, count) for start, count in zip(starts, counts, strict=True)
        ]
        first, second = places[1] - places[0] - 4, places[2] - places[1] - 4
        self._counts, self._expected = struct.Struct(f"<I{first}xI{second}xI"), tuple(counts)

    def fits(self, data: bytes) -> bool:
        """Whether another message has its numbers in the same places. Raises struct.error."""
        return (
            data.startswith(self.begin, _HEAD)
            and self._counts.unpack_from(data, self._counts_at) == self._expected
            and len(data) >= self._end
        )


class JointBytes:
    """Reads joint states of the named joints, in their order, and the gripper's."""

    def __init__(self, joint_names: Sequence[str], gripper_name: str) -> None:
        self._wanted, self._gripper = tuple(joint_names), gripper_name
        self._layout: _Layout | None = None

    def read(self, data: bytes | memoryview) -> JointState:
        """A joint state of its CDR bytes. Raises ValueError, one line, as message_reading does."""
        data = bytes(data)
        if len(data) < _HEAD + 4 or data[1] != 1:
            raise ValueError(f"a joint state of {len(data)} bytes can't be read")
        try:
            layout = self._layout
            if layout is None or not layout.fits(data):
                layout = self._layout = self._lay_out(data)
            return self._values(data, layout)
        except struct.error:
            raise ValueError(f"a joint state of {len(data)} bytes is cut off") from None

    def _values(self, data: bytes, layout: _Layout) -> JointState:
        sec, nanosec = _STAMP.unpack_from(data, 4)
        doubles = np.frombuffer(data, _DOUBLE, layout.doubles, layout.start)
        picked, (first, second) = doubles[self._picks], self._splits
        gripper = None if self._place is None else float(doubles[self._place])
        return JointState(
            sec * NANOSECONDS + nanosec,
            picked[:first],
            picked[first:second],
            picked[second:],
            gripper,
        )

    def _lay_out(self, data: bytes) -> _Layout:
        offset, names = _HEAD, []
        (length,) = _COUNT.unpack_from(data, offset)
        offset += 4 + length
        offset += -(offset - 4) % 4
        (count,) = _COUNT.unpack_from(data, offset)
        offset += 4
        if count > len(data):
            raise ValueError(f"a joint state of {len(data)} bytes names {count} joints")
        for _ in range(count):
            offset += -(offset - 4) % 4
            (length,) = _COUNT.unpack_from(data, offset)
            names.append(data[offset + 4 : offset + 3 + length].decode())
            offset += 4 + length
        offset += -(offset - 4) % 4
        layout = _Layout(data, offset, count)
        self._choose(names, layout)
        return layout

    def _choose(self, names: list[str], layout: _Layout) -> None:
        index = {name: place for place, name in enumerate(names)}
        missing = [name for name in self._wanted if name not in index]
        if missing:
            raise ValueError(f"joint state lacks {', '.join(missing)}; it has {names}")
        order = [index[name] for name in self._wanted]
        picks = [[start + place for place in order] if n else [] for start, n in layout.columns]
        self._picks = np.array([place for column in picks for place in column], np.intp)
        self._splits = len(picks[0]), len(picks[0]) + len(picks[1])
        self._place = index.get(self._gripper)
