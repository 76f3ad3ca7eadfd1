"""A JSON file that describes a safetensors file beside it, and names it by its SHA-256."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256(path: Path) -> str:
    """Of a file's content, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_description(file: Path, known_format: int, what: str, remedy: str) -> dict[str, Any]:
    """A description's content. Raises ValueError, one line, for no such JSON and another format.

    what, remedy: how the line names the file of another format, and what to do then.
    """
    try:
        description: dict[str, Any] = json.loads(file.read_text())
        number = description["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} can't be read: {error}") from error
    if number != known_format:
        raise ValueError(f"{what} {number}, this version reads {known_format}: {remedy}")
    return description
