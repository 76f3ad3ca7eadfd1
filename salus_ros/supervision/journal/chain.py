"""One line of the journal, made and read back.

    {"sequence":7,"previous":"<hash>", ... ,"sha256":"<seal>"}

`previous` is the SHA-256 of the whole line before, its newline included (so that
`tail -n 1 FILE | sha256sum` gives a journal's head). The seal is over all bytes of the line before
its own member: the SHA-256, which shows damage to a line that none follows yet, or with a key the
HMAC-SHA256 (RFC 2104) in a member `hmac`, which can't be made without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Any

HASH = re.compile(r"[0-9a-f]{64}")
_SEAL = re.compile(rb',"(sha256|hmac)":"([0-9a-f]{64})"\}')


@dataclass(frozen=True, slots=True)
class Head:
    """The newest line: its number (from 1) and hash, in hexadecimal."""

    sequence: int
    hash: str


START = Head(0, "0" * 64)
"""What the first line follows."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that could be read; sealed: the bytes under its seal, keyed: the seal is an HMAC."""

    sequence: int
    previous: str
    content: dict[str, Any]
    sealed: bytes
    seal: str
    keyed: bool


def make_line(head: Head, members: bytes, key: bytes | None) -> bytes:
    """The line after `head`, its newline included; members: JSON members, comma-separated."""
    text = b'{"sequence":%d,"previous":"%s",%s' % (head.sequence + 1, head.hash.encode(), members)
    name = b"sha256" if key is None else b"hmac"
    return b'%s,"%s":"%s"}\n' % (text, name, _seal(text, key).encode())


def head_of(sequence: int, line: bytes) -> Head:
    """Number and hash of a line, given with its newline."""
    return Head(sequence, hashlib.sha256(line).hexdigest())


def parse_line(line: bytes) -> Line:
    """Read a line, given with its newline. Raises ValueError: what is wrong with its form."""
    if not line.endswith(b"\n"):
        raise ValueError("torn: it doesn't end with a newline")
    seal = _SEAL.fullmatch(line, max(0, line.rfind(b",")), len(line) - 1)
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not readable as JSON") from None
    if seal is None or not isinstance(content, dict):
        raise ValueError("not a line of a journal: it doesn't end with a seal")
    sequence, previous = content.get("sequence"), content.get("previous")
    if type(sequence) is not int or sequence < 1:
        raise ValueError(f"its sequence is {sequence!r:.40}, not a number from 1")
    if not isinstance(previous, str) or not HASH.fullmatch(previous):
        raise ValueError("its 'previous' is no SHA-256")
    keyed = seal[1] == b"hmac"
    return Line(sequence, previous, content, line[: seal.start()], seal[2].decode(), keyed)


def seal_problem(line: Line, key: bytes | None) -> str:
    """Why a line's seal can't be right, in one line; "": it is, or needs a key that isn't given."""
    if key is not None and not line.keyed:
        return "has no HMAC"
    if key is None and line.keyed:
        return ""
    if hmac.compare_digest(_seal(line.sealed, key), line.seal):
        return ""
    return "changed, or written with another key" if line.keyed else "changed since it was written"


def _seal(text: bytes, key: bytes | None) -> str:
    if key is None:
        return hashlib.sha256(text).hexdigest()
    return hmac.digest(key, text, "sha256").hex()
