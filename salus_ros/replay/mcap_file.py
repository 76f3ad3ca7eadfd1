"""MCAP files that are whole after each write: an index and an end follow what was appended.

The next write puts its chunk over that end and a new end behind it, in one system call. A process
that is killed leaves the file whole as of its last write; only where the kill or a loss of power
falls into that call is the end torn, and mcap_recovery.py makes it anew.
Format: mcap.dev/spec; its use by ROS: rosbag2_storage_mcap.
"""

from __future__ import annotations

import os
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

import yaml

from salus_ros.replay.compression import compress_zstd
from salus_ros.replay.topic import Message, Topic

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
MESSAGE_INDEX, CHUNK_INDEX, STATISTICS, DATA_END = 0x07, 0x08, 0x0B, 0x0F
# A larger batch becomes several chunks, so that a reader need not hold all of it.
CHUNK_BYTES = 4 * 1024 * 1024


class McapFile:
    """Appends messages to a new file. compress: zstd inside of chunks."""

    suffix = ".mcap"
    identifier = "mcap"

    def __init__(self, path: Path, compress: bool = False) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._compression = "zstd" if compress else ""
        self._topics: dict[int, Topic] = {}
        self._new_topics: list[Topic] = []
        self.index = McapIndex()
        head = MAGIC + record(HEADER, text("ros2") + text("salus_ros"))
        self._end = len(head)
        self._write(0, head + self.index.ending(self._end))

    def add_topic(self, topic: Topic) -> None:
        """A topic that messages of the next batches belong to."""
        self._topics[topic.number] = topic
        self._new_topics.append(topic)

    def append(self, messages: Sequence[Message]) -> None:
        """Write messages: once this returns, the file is whole and they are in it."""
        added = b""
        for batch in _batches(messages):
            added += self._chunk(batch, self._end + len(added))
        for topic in self._take_new_topics():
            added += schema_record(topic) + channel_record(topic)
        self._write(self._end, added + self.index.ending(self._end + len(added)))
        self._end += len(added)

    def _take_new_topics(self) -> list[Topic]:
        taken, self._new_topics = self._new_topics, []
        for topic in taken:
            self.index.add_topic(schema_record(topic) + channel_record(topic))
        return taken

    def _chunk(self, messages: Sequence[Message], offset: int) -> bytes:
        """Chunk record and its message indexes, at this offset of the file."""
        content = bytearray()
        for topic in self._take_new_topics():
            content += schema_record(topic) + channel_record(topic)
        places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for number, time, data in messages:
            places[number].append((time, len(content)))
            content += struct.pack("<BQHIQQ", MESSAGE, 22 + len(data), number, 0, time, time)
            content += data
        span = min(m.time for m in messages), max(m.time for m in messages)
        stored = compress_zstd(content) if self._compression else bytes(content)
        head = struct.pack("<QQQI", *span, len(content), crc32(content))
        body = head + text(self._compression) + struct.pack("<Q", len(stored)) + stored
        chunk = record(CHUNK, body)
        sizes = len(stored), len(content)
        return chunk + self.index.add_chunk(
            offset, len(chunk), span, places, self._compression, sizes
        )

    def _write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, offset)
            view, offset = view[written:], offset + written

    def close(self) -> None:
        """End: what was appended is on disk."""
        os.fsync(self._file)
        os.close(self._file)


class McapIndex:
    """What stands behind the data: topics, where the chunks lie, and counts."""

    def __init__(self) -> None:
        self._topics = b""
        self._chunks: list[bytes] = []
        self._topic_count = 0
        self._counts: Counter[int] = Counter()
        self._first, self._last = 2**63 - 1, 0

    def add_topic(self, records: bytes) -> None:
        """A topic's schema and channel records; the schema is the channel's own."""
        self._topics += records
        self._topic_count += 1

    def add_chunk(
        self,
        offset: int,
        length: int,
        span: tuple[int, int],
        places: dict[int, list[tuple[int, int]]],
        compression: str,
        sizes: tuple[int, int],
    ) -> bytes:
        """Count a chunk record; returns the message indexes that belong behind it.

        offset, length: of the record. span: first and last time [ns]. places: (time, offset in the
        uncompressed chunk) of each message by topic. sizes: stored, uncompressed.
        """
        indexes, offsets = b"", b""
        for number, entries in places.items():
            offsets += struct.pack("<HQ", number, offset + length + len(indexes))
            flat = [value for entry in entries for value in entry]
            packed = struct.pack(f"<{len(flat)}Q", *flat)
            indexes += record(MESSAGE_INDEX, struct.pack("<HI", number, len(packed)) + packed)
            self._counts[number] += len(entries)
        self._first, self._last = min(self._first, span[0]), max(self._last, span[1])
        body = struct.pack("<QQQQI", *span, offset, length, len(offsets)) + offsets
        body += struct.pack("<Q", len(indexes)) + text(compression) + struct.pack("<QQ", *sizes)
        self._chunks.append(record(CHUNK_INDEX, body))
        return indexes

    def ending(self, offset: int) -> bytes:
        """Everything from the end of the data, at this offset, to the end of the file."""
        data_end = record(DATA_END, struct.pack("<I", 0))
        start = offset + len(data_end)
        summary = self._topics + b"".join(self._chunks) + self._statistics()
        footer = record(FOOTER, struct.pack("<QQI", start, 0, 0))
        return data_end + summary + footer + MAGIC

    def _statistics(self) -> bytes:
        total = sum(self._counts.values())
        first = self._first if total else 0
        counts = b"".join(struct.pack("<HQ", *entry) for entry in sorted(self._counts.items()))
        topics, chunks = self._topic_count, len(self._chunks)
        head = struct.pack("<QHIIIIQQ", total, topics, topics, 0, 0, chunks, first, self._last)
        return record(STATISTICS, head + struct.pack("<I", len(counts)) + counts)


def record(kind: int, body: bytes) -> bytes:
    """An MCAP record."""
    return struct.pack("<BQ", kind, len(body)) + body


def text(value: str) -> bytes:
    """A string with its length."""
    encoded = value.encode()
    return struct.pack("<I", len(encoded)) + encoded


def schema_record(topic: Topic) -> bytes:
    """The type of a topic; each topic has a schema of its own, of the topic's number."""
    body = struct.pack("<H", topic.number) + text(topic.type) + text("ros2msg")
    return record(SCHEMA, body + text(topic.definition))


def channel_record(topic: Topic) -> bytes:
    """The topic, with the metadata that rosbag2 keeps of it."""
    qos = yaml.safe_dump(list(topic.qos)) if topic.qos else ""
    metadata = text("offered_qos_profiles") + text(qos)
    metadata += text("topic_type_hash") + text(topic.digest)
    body = struct.pack("<HH", topic.number, topic.number) + text(topic.name) + text("cdr")
    return record(CHANNEL, body + struct.pack("<I", len(metadata)) + metadata)


def _batches(messages: Sequence[Message]) -> Iterable[Sequence[Message]]:
    """The messages in parts of about CHUNK_BYTES."""
    first = size = 0
    for position, message in enumerate(messages):
        size += len(message.data)
        if size >= CHUNK_BYTES:
            yield messages[first : position + 1]
            first, size = position + 1, 0
    if first < len(messages):
        yield messages[first:]
