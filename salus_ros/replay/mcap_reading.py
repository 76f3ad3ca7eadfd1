"""Reads whole MCAP files of rosbag2; they open sooner than by rosbags' reader.

That one reads each topic's quality of service by a YAML parser in Python, which takes longer than
replaying a second of most bags.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rosbags.rosbag2 import ReaderError

from salus_ros.replay.mcap_file import (
    CHANNEL,
    CHUNK,
    DATA_END,
    FOOTER,
    MAGIC,
    MESSAGE,
    SCHEMA,
    STATISTICS,
)
from salus_ros.replay.mcap_recovery import chunk_records, read_schema, read_text
from salus_ros.replay.topic import Message

_HEAD: Final = struct.Struct("<BQ")
_MESSAGE_HEAD: Final = struct.Struct("<HIQQ")
_FOOTER_BYTES: Final = _HEAD.size + 20 + len(MAGIC)
_COUNTS_AT: Final = 46


@dataclass(frozen=True)
class Channel:
    """A topic with messages; definition of its type, in the encoding "ros2msg" or "ros2idl"."""

    topic: str
    kind: str
    encoding: str
    definition: str


class McapContent:
    """The channels of a file that have messages, by number, and the messages."""

    def __init__(self, path: Path) -> None:
        """Raises ReaderError, one line, where the file isn't whole; OSError."""
        self._path, self._content = path, path.read_bytes()
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._all: dict[int, Channel] = {}
        self._counts: dict[int, int] = {}
        # False: it has no summary, so that what it holds isn't known before all of it is read.
        self.summarised = self._read_summary()
        self.channels = {n: c for n, c in self._all.items() if self._counts.get(n)}

    def _read_summary(self) -> bool:
        content = self._content
        if content[: len(MAGIC)] != MAGIC:
            raise ReaderError(f"{self._path} is no MCAP file")
        if len(content) < _FOOTER_BYTES or content[-len(MAGIC) :] != MAGIC:
            raise ReaderError(f"{self._path} is cut off after {len(content)} bytes")
        kind, _ = _HEAD.unpack_from(content, len(content) - _FOOTER_BYTES)
        (start,) = struct.unpack_from("<Q", content, len(content) - _FOOTER_BYTES + _HEAD.size)
        if kind != FOOTER or not 0 < start < len(content):
            return False
        for number, body in self._records(start):
            if number == STATISTICS:
                self._take_counts(body)
            else:
                self._take(number, body)
        return bool(self._counts)

    def _take_counts(self, body: bytes) -> None:
        (size,) = struct.unpack_from("<I", body, _COUNTS_AT - 4)
        for place in range(_COUNTS_AT, _COUNTS_AT + size, 10):
            channel, count = struct.unpack_from("<HQ", body, place)
            self._counts[channel] = count

    def _records(self, place: int) -> Iterator[tuple[int, bytes]]:
        """Kinds and bodies from a place on, to the end of the data or of the file."""
        content, end = self._content, len(self._content) - len(MAGIC)
        while place + _HEAD.size <= end:
            kind, length = _HEAD.unpack_from(content, place)
            place += _HEAD.size + length
            if place > end:
                raise ReaderError(f"{self._path} has a damaged record at byte {place - length}")
            yield kind, content[place - length : place]
            if kind == DATA_END:
                return

    def _take(self, kind: int, body: bytes) -> None:
        if kind == SCHEMA:
            number, name, encoding, definition = read_schema(body)
            self._schemas[number] = name, encoding, definition
        elif kind == CHANNEL:
            number, schema = struct.unpack_from("<HH", body)
            topic, place = read_text(body, 4)
            encoding, _ = read_text(body, place)
            if encoding != "cdr":
                raise ReaderError(f"{self._path}: {topic} is serialised as {encoding}, not as cdr")
            self._all[number] = Channel(topic, *self._schemas.get(schema, ("", "", "")))

    def messages(self, channels: Collection[int]) -> list[Message]:
        """Those of some channels, in order of receipt. Raises ReaderError where one is damaged."""
        found: list[Message] = []
        count = 0
        for kind, body in self._records(len(MAGIC)):
            inside = chunk_records(body) if kind == CHUNK else [(kind, body)]
            if not inside:
                raise ReaderError(f"{self._path} has a damaged chunk after {count} messages")
            for inner, record in inside:
                if inner == MESSAGE:
                    count += 1
                    channel, _, time, _ = _MESSAGE_HEAD.unpack_from(record)
                    if channel in channels:
                        found.append(Message(channel, time, record[_MESSAGE_HEAD.size :]))
        if count != sum(self._counts.values()):
            told = sum(self._counts.values())
            raise ReaderError(f"{self._path} says that it has {told} messages, it has {count}")
        found.sort(key=lambda message: message.time)
        return found
