"""Writes rosbag2 folders that are whole after each write, whatever becomes of the process."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import yaml

from salus_ros.replay.errors import BagError
from salus_ros.replay.mcap_file import McapFile
from salus_ros.replay.message_types import definition
from salus_ros.replay.sqlite_file import SqliteFile
from salus_ros.replay.storage import Storage
from salus_ros.replay.topic import Message, Topic

METADATA = "metadata.yaml"
METADATA_VERSION = 9


class StorageFile(Protocol):
    """One file of a bag, which is whole after each append."""

    suffix: str
    identifier: str

    def add_topic(self, topic: Topic) -> None:
        """A topic that messages of the next batches belong to."""

    def append(self, messages: Sequence[Message]) -> None:
        """Write messages."""

    def close(self) -> None:
        """End: what was appended is on disk."""


class BagWriter:
    """Writes one bag, from one thread at a time. A context manager.

    folder: must not exist yet. compress: zstd inside of mcap's chunks. file_name: where it is not
    the folder's. Raises BagError.
    """

    def __init__(
        self,
        folder: Path,
        storage: Storage = Storage.MCAP,
        compress: bool = False,
        file_name: str = "",
    ) -> None:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise BagError(f"{folder} exists: give a folder that doesn't") from None
        except OSError as error:
            raise BagError(f"can't make {folder}: {error.strerror}") from None
        kind = SqliteFile if storage is Storage.SQLITE3 else McapFile
        self._folder = folder
        self._path = folder / f"{file_name or folder.name}_0{kind.suffix}"
        self._file: StorageFile = (
            SqliteFile(self._path) if storage is Storage.SQLITE3 else McapFile(self._path, compress)
        )
        self._topics: list[Topic] = []
        self.summary = BagSummary(self._file.identifier, self._path.name)
        self._write_metadata()

    def add_topic(
        self,
        name: str,
        type_name: str,
        qos: Sequence[dict[str, Any]] = (),
        defined: tuple[str, str] | None = None,
    ) -> int:
        """The number of a new topic. Raises BagError for a type without a definition.

        defined: the type's text and hash, where they are known.
        """
        text, digest = defined or definition(type_name)
        topic = Topic(len(self._topics) + 1, name, type_name, text, digest, tuple(qos))
        self._topics.append(topic)
        self._file.add_topic(topic)
        return topic.number

    def append(self, messages: Sequence[Message]) -> None:
        """Write messages: once this returns, the bag is whole and they are in it.

        Raises BagError, where the disk is full, say.
        """
        try:
            self._file.append(messages)
            self.summary.count(messages)
            self._write_metadata()
        except (OSError, sqlite3.Error) as error:
            line = getattr(error, "strerror", "") or error
            raise BagError(f"can't write {self._path}: {line}") from None

    def _write_metadata(self) -> None:
        write_metadata(self._folder, self.summary.describe(self._topics))

    def close(self, custom_data: dict[str, str] | None = None) -> None:
        """End the bag. custom_data: what metadata.yaml shall say beside. Raises BagError."""
        self.summary.custom_data.update(custom_data or {})
        try:
            self.append([])
        finally:
            self._file.close()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()


class BagSummary:
    """What metadata.yaml says: span and counts of one file."""

    def __init__(self, identifier: str, file_name: str) -> None:
        self._identifier, self._file_name = identifier, file_name
        self._first, self._last = 2**63 - 1, 0
        # Messages by the topic's number.
        self.counts: Counter[int] = Counter()
        self.custom_data: dict[str, str] = {}

    @property
    def messages(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def span(self) -> tuple[int, int]:
        """Time of the first message and the last [ns]; zeros without one."""
        return (self._first, self._last) if self.messages else (0, 0)

    def count(self, messages: Sequence[Message]) -> None:
        """Take in messages that were written."""
        for number, time, _ in messages:
            self.counts[number] += 1
            self._first, self._last = min(self._first, time), max(self._last, time)

    def describe(self, topics: Sequence[Topic]) -> dict[str, Any]:
        """Content of metadata.yaml."""
        start = {"nanoseconds_since_epoch": self.span[0]}
        duration = {"nanoseconds": self.span[1] - self.span[0]}
        of_file = {
            "path": self._file_name,
            "starting_time": start,
            "duration": duration,
            "message_count": self.messages,
        }
        return {
            "version": METADATA_VERSION,
            "storage_identifier": self._identifier,
            "duration": duration,
            "starting_time": start,
            "message_count": self.messages,
            "topics_with_message_count": [self._describe_topic(topic) for topic in topics],
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [self._file_name],
            "files": [of_file],
            "custom_data": self.custom_data,
            "ros_distro": "jazzy",
        }

    def _describe_topic(self, topic: Topic) -> dict[str, Any]:
        metadata = {
            "name": topic.name,
            "type": topic.type,
            "serialization_format": "cdr",
            "offered_qos_profiles": list(topic.qos),
            "type_description_hash": topic.digest,
        }
        return {"topic_metadata": metadata, "message_count": self.counts[topic.number]}


class _PlainDumper(yaml.SafeDumper):
    """Without anchors, which other readers need not know."""

    def ignore_aliases(self, data: object) -> bool:
        """Write everything out."""
        return True


# Most of the file, and told by the bag itself, too: parsing it takes longer than the rest.
_TOPICS = re.compile(r"^  topics_with_message_count:\n(?:(?: {3}|  -).*\n)+", re.MULTILINE)


def read_metadata(folder: Path) -> Any:
    """Content of metadata.yaml but for its topics, to be read only.

    Raises OSError, yaml.YAMLError.
    """
    return _parsed(_TOPICS.sub("", (folder / METADATA).read_text()))


@lru_cache(maxsize=1)
def _parsed(text: str) -> Any:
    # A bag's is asked for several times: reading it takes a hundredth of the parsing.
    # libyaml's parser, where it is there: the other takes longer than opening the bag.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)


def write_metadata(folder: Path, content: dict[str, Any]) -> None:
    """Replace metadata.yaml in one step."""
    path = folder / METADATA
    new = path.with_suffix(".new")
    text = yaml.dump({"rosbag2_bagfile_information": content}, Dumper=_PlainDumper, sort_keys=False)
    new.write_text(text)
    new.replace(path)
