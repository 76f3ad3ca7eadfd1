"""Message types without ROS: Jazzy's own, those of salus_msgs, and any that is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from salus_ros.replay.errors import BagError
from salus_ros.resources import CHECKOUT


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """Jazzy's types and those of salus_msgs. Raises BagError where the latter are not found."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for folder in _salus_msgs_folders():
        files = sorted(folder.glob("*.msg"))
        if files:
            for path in files:
                store.register(get_types_from_msg(path.read_text(), f"salus_msgs/msg/{path.stem}"))
            return store
    raise BagError("salus_msgs is in no ament prefix: run make build, or source its install")


def _salus_msgs_folders() -> Iterator[Path]:
    yield from (prefix / "share" / "salus_msgs" / "msg" for prefix in _prefixes())
    yield CHECKOUT / "msg"


def _prefixes() -> list[Path]:
    named = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    return [Path(prefix) for prefix in (*named, sys.prefix) if prefix]


def definition(type_name: str) -> tuple[str, str]:
    """Text and RIHS01 hash of a type such as "std_msgs/msg/String". Raises BagError."""
    store = typestore()
    if type_name not in store.fielddefs:
        _register_installed(store, type_name)
    try:
        return store.generate_msgdef(type_name, ros_version=2)[0], store.hash_rihs01(type_name)
    except (TypesysError, KeyError) as error:
        raise BagError(f"no definition of {type_name} ({error}): source its install") from None


def _register_installed(store: Typestore, type_name: str) -> None:
    """Take a type, and those that it needs, from the share folders of the ament prefixes."""
    package, _, name = type_name.partition("/msg/")
    for prefix in _prefixes():
        path = prefix / "share" / package / "msg" / f"{name}.msg"
        if name and path.is_file():
            found = get_types_from_msg(path.read_text(), type_name)
            store.register(found)
            for needed in _needed(found[type_name]):
                if needed not in store.fielddefs:
                    _register_installed(store, needed)
            return
    raise BagError(f"no definition of {type_name} in an ament prefix: source its install")


def _needed(definition: object) -> Iterator[str]:
    """Names of message types anywhere in rosbags' nested description of fields."""
    if isinstance(definition, str) and "/msg/" in definition:
        yield definition
    elif isinstance(definition, (tuple, list)):
        for part in definition:
            yield from _needed(part)
