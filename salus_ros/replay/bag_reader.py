"""Reads bags without ROS, and says in one line why one can't be used."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import (
    Stores,
    TypesysError,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)
from rosbags.typesys.store import Typestore

from salus_ros.replay.bag_writer import METADATA
from salus_ros.replay.errors import BagError
from salus_ros.replay.message_types import typestore


class Received(NamedTuple):
    """One message of a bag: its topic, its type, when it was received [ns], and itself."""

    topic: str
    type: str
    time: int
    message: Any


def find_bags(folder: Path) -> list[Path]:
    """All bags in a folder, itself or below, also those without metadata. Raises BagError."""
    if not folder.is_dir():
        raise BagError(f"{folder}: no such folder")
    files = (p for pattern in (METADATA, "*.mcap", "*.db3") for p in folder.rglob(pattern))
    bags = sorted({path.parent for path in files if not path.parent.name.endswith(".partial")})
    if not bags:
        raise BagError(f"{folder}: no rosbag2 folder in it")
    return bags


def read_bag(bag: Path, wanted: Collection[str], needed: Collection[str]) -> list[Received]:
    """The messages of the wanted topics, in order of receipt.

    Raises BagError where the bag can't be read to its end, or lacks one of the needed topics.
    """
    try:
        with Reader(bag) as reader:
            present = {c.topic for c in reader.connections if c.msgcount}
            missing = sorted(set(needed) - present)
            if missing:
                raise BagError(f"{bag} has nothing on {', '.join(missing)}: record these, too")
            connections = [c for c in reader.connections if c.topic in wanted]
            return list(_deserialised(reader, connections))
    except ReaderError as error:
        raise BagError(f"{bag} can't be read ({error}): try salus record repair {bag}") from None
    except (SerdeError, TypesysError, OSError, ValueError, KeyError, AssertionError) as error:
        if isinstance(error, BagError):
            raise
        raise BagError(f"{bag} can't be read ({error!r}): leave it out") from None


def _deserialised(reader: Reader, connections: list[Connection]) -> Iterator[Received]:
    if not connections:  # rosbags takes an empty list for all of them.
        return
    for connection, time, data in reader.messages(connections=connections):
        kind = connection.msgtype
        store = _store_of(kind, connection.msgdef.format, connection.msgdef.data)
        yield Received(connection.topic, kind, time, store.deserialize_cdr(data, kind))


@lru_cache(maxsize=256)
def _store_of(kind: str, form: MessageDefinitionFormat, text: str) -> Typestore:
    """Types as a bag defines them. Parsing takes longer than reading a bag, so it is kept."""
    if form is MessageDefinitionFormat.NONE:
        if kind not in typestore().fielddefs:
            raise BagError(f"the bag does not define {kind}, which is none of Jazzy's")
        return typestore()
    store = get_typestore(Stores.EMPTY)
    if form is MessageDefinitionFormat.MSG:
        store.register(get_types_from_msg(text, kind))
    else:
        for idl in text.split("=" * 80 + "\nIDL: "):
            store.register(get_types_from_idl(idl.partition("\n")[2]) if idl else {})
    return store
