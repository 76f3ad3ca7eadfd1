"""The journal's files: names that tell their first line's number, in a folder of their own."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_NAME = re.compile(r"journal-(\d{12})\.jsonl")
FILE_MODE = 0o600
FOLDER_MODE = 0o700


def file_name(first: int) -> str:
    """Name of the file whose first line has this number."""
    return f"journal-{first:012d}.jsonl"


def first_sequence(path: Path) -> int | None:
    """The number that a file's name promises for its first line; None: no journal's name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def journal_files(folder: Path) -> list[Path]:
    """All files of a journal, oldest first."""
    return sorted(folder.glob("journal-*.jsonl"))


def make_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter; one that exists is left as it is."""
    with suppress(FileExistsError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=FOLDER_MODE)
    if not folder.is_dir():
        raise NotADirectoryError(20, "it is no folder", str(folder))


def create(path: Path) -> int:
    """Open a file for writing, new or not; its name is on disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    sync_folder(path.parent)
    return descriptor


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
