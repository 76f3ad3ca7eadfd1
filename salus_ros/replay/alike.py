"""Messages of one form, read together: their numbers as the columns of one table.

Most of a bag are messages of a few topics whose texts and lengths don't change: joint states,
commands, signals, predictions. In CDR (the encoding of ROS 2's messages: every number aligned to
its own size, a length before each text and sequence) their numbers then stand at the same places.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Nodetype
from rosbags.typesys.store import Typestore

# What stands before the content, and what places are counted from.
_ENCAPSULATION = 4
_LITTLE_ENDIAN = 1
# Messages of so many forms of one length are read together, the others one by one.
FORMS_MAX = 16


class Group(NamedTuple):
    """Messages of one form.

    places: which of the messages. texts: each text, or list of texts, by its field's path
    ("header.frame_id"). numbers: a structured array [n] of all the others, likewise named; an empty
    sequence is not in it.
    """

    places: list[int]
    texts: dict[str, Any]
    numbers: NDArray[Any]


def groups(messages: Sequence[bytes], kind: str, store: Typestore) -> tuple[list[Group], list[int]]:
    """Groups of messages of a type, and the places of those that belong to none."""
    found: list[Group] = []
    rest: list[int] = []
    lengths: dict[int, list[int]] = {}
    for place, data in enumerate(messages):
        lengths.setdefault(len(data), []).append(place)
    for left in lengths.values():
        places = left
        for _ in range(FORMS_MAX):
            form = _form_of(messages[places[0]], kind, store) if places else None
            if form is None:
                break
            group, places = _split(messages, places, form)
            found.append(group)
        rest += places
    return found, sorted(rest)


def _split(messages: Sequence[bytes], places: list[int], form: _Form) -> tuple[Group, list[int]]:
    """Messages of one length: those of the first one's form, and the places of the others."""
    table = np.frombuffer(b"".join([messages[place] for place in places]), np.uint8)
    table = table.reshape(len(places), -1)
    alike = (table[:, form.fixed] == table[0, form.fixed]).all(axis=1)
    inside = [place for place, same in zip(places, alike.tolist(), strict=True) if same]
    others = [place for place, same in zip(places, alike.tolist(), strict=True) if not same]
    return Group(inside, form.texts, table[alike].reshape(-1).view(form.numbers)), others


@dataclass(frozen=True)
class _Form:
    """Where a message's numbers stand; fixed [bytes]: which make another one of the same form."""

    texts: dict[str, Any]
    numbers: np.dtype[Any]
    fixed: NDArray[np.bool_]


def _form_of(data: bytes, kind: str, store: Typestore) -> _Form | None:
    """The form of a message; None where it can't be told."""
    if len(data) < _ENCAPSULATION or data[1] != _LITTLE_ENDIAN:
        return None
    walk = _Walk(data, store)
    try:
        walk.message(kind, "")
    except (struct.error, UnicodeDecodeError, NotImplementedError, KeyError):
        return None
    return walk.form() if walk.place <= len(data) else None


class _Walk:
    """Goes through one message, noting what stands where."""

    def __init__(self, data: bytes, store: Typestore) -> None:
        self._data, self._store = data, store
        self.place = _ENCAPSULATION
        self._texts: dict[str, Any] = {}
        self._numbers: list[tuple[str, Any, int]] = []
        self._fixed = np.zeros(len(data), np.bool_)
        self._fixed[:_ENCAPSULATION] = True

    def form(self) -> _Form:
        """All that was noted."""
        names, formats, offsets = zip(*self._numbers, strict=True) if self._numbers else ((),) * 3
        layout: Any = {
            "names": list(names),
            "formats": list(formats),
            "offsets": list(offsets),
            "itemsize": len(self._data),
        }
        return _Form(self._texts, np.dtype(layout), self._fixed)

    def message(self, kind: str, prefix: str) -> None:
        """All fields of a message that is a field itself, or of the whole one."""
        fields: Any = self._store.fielddefs[kind][1]
        for name, (form, detail) in fields:
            path = prefix + name
            if form == Nodetype.NAME:
                self.message(detail, path + ".")
            elif form == Nodetype.BASE:
                self._one(path, detail[0])
            else:
                self._several(path, form, *detail)

    def _one(self, path: str, kind: str) -> None:
        if kind == "string":
            self._texts[path] = self._text()
        else:
            self._take(path, _dtype(kind))

    def _several(self, path: str, form: Nodetype, element: Any, size: int) -> None:
        if element[0] != Nodetype.BASE:
            raise NotImplementedError
        count, kind = size if form == Nodetype.ARRAY else self._count(), element[1][0]
        if kind == "string":
            if count > len(self._data):
                raise struct.error("cut off")
            self._texts[path] = [self._text() for _ in range(count)]
        elif count:
            self._take(path, _dtype(kind), (count,))

    def _take(self, path: str, dtype: np.dtype[Any], shape: tuple[int, ...] = ()) -> None:
        self._align(dtype.itemsize)
        size = math.prod(shape) * dtype.itemsize
        if self.place + size > len(self._data):
            raise struct.error("cut off")
        self._numbers.append((path, (dtype, shape), self.place))
        self.place += size

    def _count(self) -> int:
        self._align(4)
        (count,) = struct.unpack_from("<I", self._data, self.place)
        self._keep(4)
        return int(count)

    def _text(self) -> str:
        length = self._count()
        text = self._data[self.place : self.place + length]
        if len(text) < max(length, 1):
            raise struct.error("cut off")
        self._keep(length)
        return text[:-1].decode()

    def _keep(self, size: int) -> None:
        self._fixed[self.place : self.place + size] = True
        self.place += size

    def _align(self, size: int) -> None:
        self.place += -(self.place - _ENCAPSULATION) % size


def _dtype(kind: str) -> np.dtype[Any]:
    names = {"bool": "uint8", "octet": "uint8", "byte": "uint8", "char": "uint8"}
    try:
        return np.dtype(names.get(kind, kind)).newbyteorder("<")
    except TypeError:
        raise NotImplementedError(kind) from None
