"""Reads what is left of an MCAP file whose end is torn or missing, from its start on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final
from zlib import crc32

import yaml

from salus_ros.replay.compression import decompress
from salus_ros.replay.errors import BagError
from salus_ros.replay.mcap_file import (
    CHANNEL,
    CHUNK,
    DATA_END,
    MAGIC,
    MESSAGE,
    SCHEMA,
)
from salus_ros.replay.topic import Message, Topic

_RECORD: Final = struct.Struct("<BQ")
_RECORD_HEAD: Final = _RECORD.size
_MESSAGE_HEAD: Final = 22
_CHUNK_HEAD: Final = 28


class RecoveredMcap:
    """The whole records of a file, in order; `topics` fills up while they are read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schemas: dict[int, tuple[str, str]] = {}
        self.topics: dict[int, Topic] = {}

    def messages(self) -> Iterator[list[Message]]:
        """Batches of messages, each after its topics. Raises BagError for no MCAP file."""
        try:
            with self._path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise BagError(f"{self._path} is no MCAP file")
                for kind, body in _records(file):
                    content = chunk_records(body) if kind == CHUNK else [(kind, body)]
                    batch = [m for inner in content for m in self._take(*inner)]
                    if batch:
                        yield batch
        except OSError as error:
            raise BagError(f"can't read {self._path}: {error.strerror}") from None

    def _take(self, kind: int, body: bytes) -> Iterator[Message]:
        if kind == SCHEMA:
            number, name, encoding, definition = read_schema(body)
            if encoding == "ros2msg":
                self._schemas[number] = name, definition
        elif kind == CHANNEL:
            self._add_channel(body)
        elif kind == MESSAGE and len(body) >= _MESSAGE_HEAD:
            number, _, time, _ = struct.unpack_from("<HIQQ", body)
            if number in self.topics:
                yield Message(number, time, body[_MESSAGE_HEAD:])

    def _add_channel(self, body: bytes) -> None:
        number, schema = struct.unpack_from("<HH", body)
        name, place = read_text(body, 4)
        encoding, place = read_text(body, place)
        if encoding != "cdr" or schema not in self._schemas or number in self.topics:
            return
        metadata = _mapping(body, place)
        type_name, definition = self._schemas[schema]
        qos = yaml.safe_load(metadata.get("offered_qos_profiles", "")) or ()
        digest = metadata.get("topic_type_hash", "")
        self.topics[number] = Topic(number, name, type_name, definition, digest, tuple(qos))


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each whole record up to the end of the data."""
    while len(head := file.read(_RECORD_HEAD)) == _RECORD_HEAD:
        kind, length = struct.unpack("<BQ", head)
        if kind == DATA_END:
            return
        # A torn length must not be believed: no record is longer than what is left of the file.
        here = file.tell()
        left = file.seek(0, 2) - here
        file.seek(here)
        if length > left:
            return
        yield kind, file.read(length)


def chunk_records(body: bytes) -> list[tuple[int, bytes]]:
    """Records inside of a chunk; none where it is not whole."""
    try:
        _, _, size, checksum = struct.unpack_from("<QQQI", body)
        compression, place = read_text(body, _CHUNK_HEAD)
        content = decompress(body[place + 8 :], compression)
    except (struct.error, ValueError):
        return []
    if len(content) != size or (checksum and crc32(content) != checksum):
        return []
    records, place, end = [], 0, len(content)
    while place + _RECORD_HEAD <= end:
        kind, length = _RECORD.unpack_from(content, place)
        place += _RECORD_HEAD + length
        records.append((kind, content[place - length : place]))
    return records


def read_schema(body: bytes) -> tuple[int, str, str, str]:
    """Number, name, encoding and text of a schema record."""
    (number,) = struct.unpack_from("<H", body)
    name, place = read_text(body, 2)
    encoding, place = read_text(body, place)
    return number, name, encoding, read_text(body, place)[0]


def read_text(body: bytes, place: int) -> tuple[str, int]:
    """A string at that place, and the place behind it."""
    (length,) = struct.unpack_from("<I", body, place)
    end = place + 4 + length
    return body[place + 4 : end].decode(), end


def _mapping(body: bytes, place: int) -> dict[str, str]:
    (length,) = struct.unpack_from("<I", body, place)
    place, end = place + 4, place + 4 + length
    found = {}
    while place < end:
        key, place = read_text(body, place)
        found[key], place = read_text(body, place)
    return found
