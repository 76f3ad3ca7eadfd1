"""Makes a bag whole whose recording ended in a crash: what is whole of it is kept."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import yaml
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError

from salus_ros.replay.bag_writer import BagSummary, write_metadata
from salus_ros.replay.errors import BagError
from salus_ros.replay.mcap_file import McapFile
from salus_ros.replay.mcap_recovery import RecoveredMcap
from salus_ros.replay.message_types import typestore
from salus_ros.replay.topic import Message, Topic


def is_whole(bag: Path) -> bool:
    """Whether the bag opens as it is."""
    try:
        with AnyReader([bag], default_typestore=typestore()):
            return True
    except (AnyReaderError, ReaderError, OSError, ValueError, KeyError, AssertionError):
        return False


def repair(bag: Path) -> int:
    """Make the bag whole where it is not; returns the number of messages kept.

    A torn file is kept beside, with ".damaged" behind its name. Raises BagError where nothing of
    the bag can be read.
    """
    files = sorted([*bag.glob("*.mcap"), *bag.glob("*.db3")])
    if len(files) != 1:
        raise BagError(f"{bag} holds {len(files)} recordings (.mcap, .db3): one is needed")
    if files[0].suffix == ".db3":
        return _describe_sqlite(files[0])
    return _rewrite_mcap(files[0])


def _rewrite_mcap(path: Path) -> int:
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    source, target = RecoveredMcap(path), McapFile(new)
    summary = BagSummary(target.identifier, path.name)
    known: set[int] = set()
    for batch in source.messages():
        for number in source.topics.keys() - known:
            target.add_topic(source.topics[number])
            known.add(number)
        target.append(batch)
        summary.count(batch)
    target.close()
    if not summary.messages:
        new.unlink()
        raise BagError(f"{path}: no message in it can be read")
    shutil.move(path, path.with_suffix(path.suffix + ".damaged"))
    new.replace(path)
    write_metadata(path.parent, summary.describe(list(source.topics.values())))
    return summary.messages


def _describe_sqlite(path: Path) -> int:
    """Make metadata.yaml anew; sqlite itself undoes a transaction that was cut short."""
    summary = BagSummary("sqlite3", path.name)
    try:
        with closing(sqlite3.connect(path)) as database:
            topics = list(_sqlite_topics(database))
            rows = database.execute("SELECT topic_id, timestamp FROM messages")
            summary.count([Message(number, time, b"") for number, time in rows])
    except sqlite3.Error as error:
        raise BagError(f"{path} can't be read: {error}") from None
    write_metadata(path.parent, summary.describe(topics))
    return summary.messages


def _sqlite_topics(database: sqlite3.Connection) -> Iterator[Topic]:
    columns = "id, name, type, type_description_hash, offered_qos_profiles"
    for number, name, kind, digest, qos in database.execute(f"SELECT {columns} FROM topics"):
        yield Topic(number, name, kind, "", digest, tuple(yaml.safe_load(qos) or ()))
