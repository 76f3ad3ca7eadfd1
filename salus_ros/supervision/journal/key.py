"""The optional key that makes each line's seal an HMAC."""

from __future__ import annotations

from pathlib import Path

from salus_ros.supervision.journal.errors import JournalError, one_line

SHORTEST = 16  # bytes


def load_key(path: Path, private: bool = False) -> bytes:
    """The key: a file's content without the white space around it, at least 16 bytes.

    private: refuse a file that group or others may read. Raises JournalError.
    """
    try:
        mode = path.stat().st_mode
        key = path.read_bytes().strip()
    except OSError as error:
        raise JournalError(one_line(path, error).replace("journal", "key file", 1)) from error
    if private and mode & 0o077:
        raise JournalError(f"key file {path} is open to others: chmod 600 {path}")
    if len(key) < SHORTEST:
        raise JournalError(
            f"key file {path} holds {len(key)} bytes: give at least {SHORTEST}, "
            f"such as: openssl rand -hex 32 > {path}"
        )
    return key
