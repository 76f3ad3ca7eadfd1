"""What goes wrong with a journal as a whole."""

from __future__ import annotations

from pathlib import Path


class JournalError(ValueError):
    """The journal can't be opened or read; one line that says what to do."""


def one_line(folder: Path, error: OSError) -> str:
    """What the system refused, and where."""
    where = error.filename if isinstance(error.filename, str) else folder
    return f"journal {where}: {error.strerror or error}"
