"""JointState messages straight from their bytes: most of a bag is these, and names don't change.

The names of one message are read in full; of the next ones only the numbers, as long as everything
before them is the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from salus_ros.interfaces import NANOSECONDS, FloatArray, JointState

# Encapsulation, seconds, nanoseconds; then the frame's name.
_HEAD = 12
_STAMP = struct.Struct("<iI")
_DOUBLE = np.dtype("<f8")
_NO_VALUES = np.empty(0)


class _Names:
    """The bytes between stamp and numbers, where they end, and how many joints they name."""

    def __init__(self, begin: bytes, count: int) -> None:
        self.begin, self.end, self.count = begin, _HEAD + len(begin), count


class JointBytes:
    """Reads joint states of the named joints, in their order, and the gripper's."""

    def __init__(self, joint_names: Sequence[str], gripper_name: str) -> None:
        self._wanted, self._gripper = tuple(joint_names), gripper_name
        self._layout: _Names | None = None

    def read(self, data: bytes | memoryview) -> JointState:
        """A joint state of its CDR bytes. Raises ValueError, one line, as message_reading does."""
        data = bytes(data)
        if len(data) < _HEAD + 4 or data[1] != 1:
            raise ValueError(f"a joint state of {len(data)} bytes can't be read")
        try:
            layout = self._layout
            if layout is None or not data.startswith(layout.begin, _HEAD):
                layout = self._layout = self._lay_out(data)
            return self._values(data, layout)
        except struct.error:
            raise ValueError(f"a joint state of {len(data)} bytes is cut off") from None

    def _values(self, data: bytes, layout: _Names) -> JointState:
        sec, nanosec = _STAMP.unpack_from(data, 4)
        columns = self._columns(data, layout)
        picked = [column[self._order] if column.size else column for column in columns]
        gripper = None if self._place is None else float(columns[0][self._place])
        return JointState(sec * NANOSECONDS + nanosec, picked[0], picked[1], picked[2], gripper)

    def _columns(self, data: bytes, layout: _Names) -> list[FloatArray]:
        columns, offset, names = [], layout.end, layout.count
        for what in ("position", "velocity", "effort"):
            (count,) = struct.unpack_from("<I", data, offset)
            offset += 4
            if count:
                offset += -(offset - 4) % 8
                columns.append(np.frombuffer(data, _DOUBLE, count, offset))
                offset += 8 * count
            else:
                columns.append(_NO_VALUES)
            if count != names and (count or what == "position"):
                raise ValueError(f"joint state names {names} joints but has {count} {what} values")
        return columns

    def _lay_out(self, data: bytes) -> _Names:
        offset, names = _HEAD, []
        (length,) = struct.unpack_from("<I", data, offset)
        offset += 4 + length
        offset += -(offset - 4) % 4
        (count,) = struct.unpack_from("<I", data, offset)
        offset += 4
        if count > len(data):
            raise ValueError(f"a joint state of {len(data)} bytes names {count} joints")
        for _ in range(count):
            offset += -(offset - 4) % 4
            (length,) = struct.unpack_from("<I", data, offset)
            names.append(data[offset + 4 : offset + 3 + length].decode())
            offset += 4 + length
        offset += -(offset - 4) % 4
        self._choose(names)
        return _Names(data[_HEAD:offset], count)

    def _choose(self, names: list[str]) -> None:
        index = {name: place for place, name in enumerate(names)}
        missing = [name for name in self._wanted if name not in index]
        if missing:
            raise ValueError(f"joint state lacks {', '.join(missing)}; it has {names}")
        self._order = np.array([index[name] for name in self._wanted])
        self._place = index.get(self._gripper)
