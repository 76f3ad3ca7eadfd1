"""Reads bags without ROS, and says in one line why one can't be used."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import yaml
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

from salus_ros.replay.bag_writer import METADATA, read_metadata
from salus_ros.replay.errors import BagError
from salus_ros.replay.mcap_reading import McapContent
from salus_ros.replay.message_types import typestore

_NO_FORM = MessageDefinitionFormat.NONE
_FORMS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}
_STORES = frozenset(store.value for store in Stores)


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


class RawMessage(NamedTuple):
    """One message of a bag, not yet taken apart; time: of its receipt [ns]."""

    topic: str
    kind: str
    time: int
    data: bytes
    store: Typestore

    def message(self) -> Any:
        """The message, in rosbags' form. Raises ValueError, one line, where its bytes are none."""
        try:
            return self.store.deserialize_cdr(self.data, self.kind)
        except KeyError as error:
            raise ValueError(f"{self.kind} needs {error}, which the bag doesn't define") from None
        except (SerdeError, TypesysError, struct.error, IndexError, AssertionError) as error:
            raise ValueError(f"{self.topic}: no {self.kind}: {error!r}") from None


def read_bag(bag: Path, wanted: Collection[str], needed: Collection[str]) -> list[Received]:
    """The messages of the wanted topics, in order of receipt.

    Raises BagError where the bag can't be read to its end, or lacks one of the needed topics.
    """

    def choose(present: Mapping[str, str]) -> set[str]:
        missing = sorted(set(needed) - present.keys())
        if missing:
            raise BagError(f"nothing on {', '.join(missing)}: record these, too")
        return set(wanted)

    found = []
    for raw in read_raw(bag, choose):
        try:
            found.append(Received(raw.topic, raw.kind, raw.time, raw.message()))
        except ValueError as error:
            raise BagError(f"{bag} can't be read ({error}): leave it out") from None
    return found


def read_raw(bag: Path, choose: Callable[[Mapping[str, str]], Collection[str]]) -> list[RawMessage]:
    """Messages of the topics that `choose` picks of those with messages (type by topic).

    bag: a folder, or one file. Raises BagError, with the bag's name, where it can't be read to its
    end, and for what `choose` raises.
    """
    try:
        if not bag.exists():
            raise BagError("no such bag")
        path = _only_file(bag)
        content = McapContent(path) if path is not None and path.suffix == ".mcap" else None
        if content is not None and content.summarised:
            return _raw_of_mcap(content, choose)
        with Reader(path or bag) as reader:
            present = {c.topic: c.msgtype for c in reader.connections if c.msgcount}
            chosen = choose(_some(present))
            return list(_raw(reader, [c for c in reader.connections if c.topic in chosen]))
    except ReaderError as error:
        todo = f"try salus record repair {bag}" if bag.is_dir() else "leave it out"
        raise BagError(f"{bag} can't be read ({error}): {todo}") from None
    except BagError as error:
        told = str(error)
        raise error if told.startswith(str(bag)) else BagError(f"{bag}: {told}") from None
    except (SerdeError, TypesysError, OSError, ValueError, KeyError, AssertionError) as error:
        raise BagError(f"{bag} can't be read ({error!r}): leave it out") from None


def _some(present: dict[str, str]) -> dict[str, str]:
    if not present:
        raise BagError("it holds no messages: record again")
    return present


def _raw_of_mcap(
    content: McapContent, choose: Callable[[Mapping[str, str]], Collection[str]]
) -> list[RawMessage]:
    chosen = choose(_some({c.topic: c.kind for c in content.channels.values()}))
    channels = {n: c for n, c in content.channels.items() if c.topic in chosen}
    stores = {
        number: _store_of(c.kind, _FORMS.get(c.encoding, _NO_FORM), c.definition, "")
        for number, c in channels.items()
    }
    return [
        RawMessage(channels[n].topic, channels[n].kind, time, data, stores[n])
        for n, time, data in content.messages(channels.keys())
    ]


def _only_file(bag: Path) -> Path | None:
    """The file of a bag that is one, uncompressed; read by itself, it opens sooner.

    rosbags reads metadata.yaml by a parser that takes longer than replaying a second of the bag.
    """
    if not bag.is_dir():
        return bag
    try:
        told = read_metadata(bag)["rosbag2_bagfile_information"]
        files, mode = told["relative_file_paths"], told.get("compression_mode") or "none"
        path = bag / PurePath(files[0]).name
        return path if len(files) == 1 and mode.lower() == "none" and path.is_file() else None
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, yaml.YAMLError):
        return None  # the reader says what is wrong


def _raw(reader: Reader, connections: list[Connection]) -> Iterator[RawMessage]:
    if not connections:  # rosbags takes an empty list for all of them.
        return
    stores = {
        c.id: _store_of(c.msgtype, c.msgdef.format, c.msgdef.data, _distro(reader))
        for c in connections
    }
    for connection, time, data in reader.messages(connections=connections):
        store = stores[connection.id]
        yield RawMessage(connection.topic, connection.msgtype, time, data, store)


def _distro(reader: Reader) -> str:
    """The ROS distribution that a bag says it is of; empty: it says nothing."""
    return str(getattr(reader.storage.metadata, "ros_distro", None) or "")


@lru_cache(maxsize=256)
def _store_of(kind: str, form: MessageDefinitionFormat, text: str, distro: str) -> Typestore:
    """Types as a bag defines them. Parsing takes longer than reading a bag, so it is kept.

    A bag without definitions (before Iron) has those of its distribution, or of the one that knows
    the type.
    """
    if form is MessageDefinitionFormat.NONE:
        return _store_without_definition(kind, distro)
    store = get_typestore(Stores.EMPTY)
    if form is MessageDefinitionFormat.MSG:
        store.register(get_types_from_msg(text, kind))
    else:
        for idl in text.split("=" * 80 + "\nIDL: "):
            store.register(get_types_from_idl(idl.partition("\n")[2]) if idl else {})
    return store


def _store_without_definition(kind: str, distro: str) -> Typestore:
    if not distro and kind in typestore().fielddefs:
        return typestore()
    for name in (distro, "jazzy", "humble", "iron", "kilted"):
        if f"ros2_{name}" in _STORES:
            store = get_typestore(Stores(f"ros2_{name}"))
            if kind in store.fielddefs:
                return store
    if kind in typestore().fielddefs:
        return typestore()
    raise BagError(f"the bag does not define {kind}, which is none of ROS's own")
