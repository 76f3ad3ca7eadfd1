"""Removes what killed processes leave in shared memory.

Fast DDS unlinks its files when a process ends in order; after kill -9 they stay in /dev/shm. A file
whose lock nobody holds belongs to a process that is gone (as Fast DDS's own `fastdds shm clean`
tells them apart).
"""

from __future__ import annotations

import fcntl
import re
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_SEGMENT = re.compile(r"fastrtps_([0-9a-f]{16}|port\d+)")
_LOCK_SUFFIXES = ("_el", "_sl")


def remove_orphans(folder: Path = SHARED_MEMORY) -> list[str]:
    """Remove the segments and ports that no living process holds; returns their names."""
    names = {match[0] for path in folder.glob("fastrtps_*") if (match := _SEGMENT.match(path.name))}
    orphans = sorted(name for name in names if not _is_held(folder, name))
    for name in orphans:
        for file in (name, *(name + suffix for suffix in _LOCK_SUFFIXES), f"sem.{name}_mutex"):
            (folder / file).unlink(missing_ok=True)
    return orphans


def _is_held(folder: Path, name: str) -> bool:
    return any(_is_locked(folder / f"{name}{suffix}") for suffix in _LOCK_SUFFIXES)


def _is_locked(path: Path) -> bool:
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False
