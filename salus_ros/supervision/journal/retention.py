"""How much of a journal is kept: whole oldest files are deleted, and the chain says so before.

A file goes only after a line on disk names what follows it: `journal_deleted`, with the number of
the first line that is left and the hash that this line follows. `verification` takes a chain that
begins there for whole, and any other beginning for a cut one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salus_ros.supervision.journal.chain import Head, parse_line
from salus_ros.supervision.journal.files import first_sequence, journal_files, sync_folder

DELETED = "journal_deleted"
KEEP_BYTES = 4 << 30
"""Size of a journal beyond which its oldest files are deleted."""


@dataclass(frozen=True, slots=True)
class Surplus:
    """The oldest file, which may go; head: the newest line that goes with it."""

    path: Path
    head: Head

    @property
    def text(self) -> str:
        """For people."""
        last = self.head.sequence
        return f"{self.path.name} is deleted, lines up to {last}: the journal has grown too large"

    @property
    def details(self) -> Mapping[str, Any]:
        """What `anchor` reads."""
        return {"file": self.path.name, "sequence": self.head.sequence, "hash": self.head.hash}


def oldest_surplus(folder: Path, keep_bytes: int) -> Surplus | None:
    """The oldest file where all files hold more than that; never the one that is written.

    None, too, where the file after it doesn't begin as it should: nothing can then stand for it.
    """
    files = journal_files(folder)
    if len(files) < 2 or sum(file.stat().st_size for file in files) <= keep_bytes:
        return None
    with files[1].open("rb") as file, suppress(ValueError):
        line = parse_line(file.readline())
        if line.sequence == first_sequence(files[1]):
            return Surplus(files[0], Head(line.sequence - 1, line.previous))
    return None


def anchor(content: Mapping[str, Any]) -> Head | None:
    """The newest deleted line that an entry tells of; None where it tells of none."""
    details = content.get("details")
    if content.get("reason") != DELETED or not isinstance(details, Mapping):
        return None
    sequence, digest = details.get("sequence"), details.get("hash")
    if isinstance(sequence, int) and isinstance(digest, str):
        return Head(sequence, digest)
    return None


class Retention:
    """Deletes what is more than a journal is to hold, one file after the other."""

    def __init__(self, folder: Path, keep_bytes: int) -> None:
        self._folder = folder
        self._keep_bytes = keep_bytes
        self._said: Surplus | None = None
        self._files = -1
        self._most = 0

    def apply(
        self, files: Callable[[], int], say: Callable[[Surplus], None], sync: Callable[[], None]
    ) -> str:
        """Look at the folder where the count of files that were begun has changed.

        say: appends the line that tells of a file; sync: has that line on disk. Their OSError
        leaves everything to be tried again. Returns one line where a file can't be deleted, else
        "".
        """
        if files() == self._files:
            return ""
        # What is said takes room, too: only files that are there now may go in this round.
        self._most = self._most or len(journal_files(self._folder)) - 1
        warning = ""
        while self._most > 0 and not warning and self._say_next(say):
            sync()
            warning = self._delete()
            self._most -= 1
        self._files, self._most = files(), 0
        return warning

    def _say_next(self, say: Callable[[Surplus], None]) -> bool:
        if self._said is None:
            surplus = oldest_surplus(self._folder, self._keep_bytes)
            if surplus is None:
                return False
            say(surplus)
            self._said = surplus
        return True

    def _delete(self) -> str:
        assert self._said is not None
        said, self._said = self._said, None
        try:
            said.path.unlink(missing_ok=True)
            sync_folder(self._folder)
        except OSError as error:
            # Tried again with the next file: the journal itself must go on.
            return f"{said.path.name} can't be deleted: {error.strerror or error}"
        return ""
