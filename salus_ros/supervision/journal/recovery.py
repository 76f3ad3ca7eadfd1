"""Where a journal goes on: after its last good line. What comes after that is set aside.

A crash can leave half a line, or blocks that were never written. They are moved to a file beside
the journal, `torn-...`, never thrown away, and the line that is written next says so.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salus_ros.supervision.journal.chain import (
    START,
    Head,
    Line,
    head_of,
    parse_line,
    seal_problem,
)
from salus_ros.supervision.journal.errors import JournalError
from salus_ros.supervision.journal.files import (
    FILE_MODE,
    journal_files,
    make_folder,
    sync_folder,
)

LOCK_PATIENCE = 5.0  # s; a writer whose supervisor was killed is soon done


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a journal: its head, that line's content, the file and where the line ends in it.

    path None: a new file has to be begun. torn: one line for each piece that was set aside.
    """

    head: Head = START
    content: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    size: int = 0
    torn: tuple[str, ...] = ()


def lock_folder(folder: Path) -> int:
    """Make the folder where it is missing, and take it for this process alone.

    Returns a descriptor that holds the lock while it is open. Raises JournalError where another
    writer has it, OSError where there can be no such folder.
    """
    make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            os.close(descriptor)
            raise JournalError(
                f"journal {folder} is in use by another supervisor: give a folder for each"
            ) from None
        return descriptor


def recover(folder: Path, key: bytes | None) -> Tail:
    """Find the last good line and set aside what follows it.

    Raises JournalError where the journal was written with another key, with one while none is
    given, or the other way round; OSError where the disk refuses.
    """
    torn: list[str] = []
    for path in reversed(journal_files(folder)):
        data = path.read_bytes()
        line, end = _last_good(path, data, key)
        if end < len(data):
            torn.append(_set_aside(path, data, end))
        if line is not None:
            start = data.rfind(b"\n", 0, end - 1) + 1
            head = head_of(line.sequence, data[start:end])
            return Tail(head, line.content, path, end, tuple(torn))
        path.unlink()
    return Tail(torn=tuple(torn))


def _last_good(path: Path, data: bytes, key: bytes | None) -> tuple[Line | None, int]:
    """The last line with a right seal, and the offset at which it ends; None, 0: there is none."""
    end, refused = len(data), ""
    while end > 0:
        start = data.rfind(b"\n", 0, end - 1) + 1
        line = _readable(data[start:end])
        if line is not None:
            problem = _refusal(line, key)
            if not problem:
                return line, end
            refused = refused or problem
        end = start
    if refused:
        raise JournalError(f"journal {path}: {refused}")
    return None, 0


def _readable(line: bytes) -> Line | None:
    try:
        return parse_line(line)
    except ValueError:
        return None


def _refusal(line: Line, key: bytes | None) -> str:
    if line.keyed and key is None:
        return "written with a key: give its file, or another folder"
    problem = seal_problem(line, key)
    if problem and not line.keyed and key is not None:
        return "begun without a key: give another folder for lines with HMAC"
    return f"line {line.sequence} is {problem}: give its key, or another folder" if problem else ""


def _set_aside(path: Path, data: bytes, end: int) -> str:
    """Move what follows the good lines to a file of its own; says so in one line."""
    aside = path.with_name(f"torn-{path.stem}-{end}-{time.time_ns()}")
    try:
        _write_whole(aside, data[end:])
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    with path.open("r+b") as file:
        file.truncate(end)
        os.fsync(file.fileno())
    return (
        f"{len(data) - end} bytes after the last good line of {path.name} set aside: {aside.name}"
    )


def _write_whole(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    sync_folder(path.parent)
