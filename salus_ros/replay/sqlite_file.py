"""sqlite3 files as rosbag2 writes them (schema 4): one transaction a write."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import yaml

from salus_ros.replay.topic import Message, Topic

_SCHEMA = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(
  id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE topics(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
  serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL,
  type_description_hash TEXT NOT NULL);
CREATE TABLE message_definitions(
  id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
  encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE messages(
  id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
  data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
INSERT INTO schema(schema_version, ros_distro) VALUES (4, 'jazzy');
"""


class SqliteFile:
    """Appends messages to a new file."""

    suffix = ".db3"
    identifier = "sqlite3"

    def __init__(self, path: Path) -> None:
        # The recorder writes from a thread of its own, one at a time.
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.executescript(_SCHEMA)
        self._types: set[str] = set()
        self._new_topics: list[Topic] = []

    def add_topic(self, topic: Topic) -> None:
        """A topic that messages of the next batches belong to."""
        self._new_topics.append(topic)

    def append(self, messages: Sequence[Message]) -> None:
        """Write messages in one transaction."""
        with self._database as database:
            for topic in self._new_topics:
                self._insert(topic)
            self._new_topics.clear()
            database.executemany(
                "INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", messages
            )

    def _insert(self, topic: Topic) -> None:
        qos = yaml.safe_dump(list(topic.qos)) if topic.qos else ""
        self._database.execute(
            "INSERT INTO topics VALUES (?, ?, ?, 'cdr', ?, ?)",
            (topic.number, topic.name, topic.type, qos, topic.digest),
        )
        if topic.type not in self._types:
            self._types.add(topic.type)
            self._database.execute(
                "INSERT INTO message_definitions (topic_type, encoding, "
                "encoded_message_definition, type_description_hash) VALUES (?, 'ros2msg', ?, ?)",
                (topic.type, topic.definition, topic.digest),
            )

    def close(self) -> None:
        """End: what was appended is on disk."""
        self._database.close()
