"""What goes through the two pipes between the supervisor and the writer.

To the writer, at most PIPE_BUF bytes each, so that a write is whole or not at all (pipe(7)):

    RS kind number SPACE body NEWLINE

kind R: a record, body its JSON object. N: no record, but `number` may be news. C: likewise, and the
end, in order. `number` counts all records that the supervisor wanted written, so that a gap tells
how many were left out, whoever lost them. RS (0x1e, as in RFC 7464) can't occur in the JSON: a
writer that begins in the middle of a record sees that it does.

From the writer, lines: `ready PID`, `head SEQUENCE HASH`, `warning TEXT`, `trouble TEXT` (nothing
is recorded), `recovered TEXT` (it is again), `error TEXT` (it can't begin).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from select import PIPE_BUF

RECORD, NOTE, CLOSE = b"R", b"N", b"C"
_START = b"\x1e"


@dataclass(frozen=True, slots=True)
class Message:
    """One message to the writer; body: the members of its JSON object, without the braces."""

    kind: bytes
    number: int
    members: bytes


def encode(kind: bytes, number: int, body: str = "{}") -> bytes:
    """A message to the writer; longer than PIPE_BUF it must not be sent."""
    return b"%s%s%d %s\n" % (_START, kind, number, body.encode("ascii"))


class Decoder:
    """Messages from a stream of bytes, cut anywhere; what can't be one is skipped."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete with this piece."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = _decode(line)
            if message is not None:
                yield message


def _decode(line: bytes) -> Message | None:
    head, space, body = line.partition(b" ")
    whole = line[:1] == _START and space and body[:1] == b"{" and body[-1:] == b"}"
    if not whole or line[1:2] not in (RECORD, NOTE, CLOSE) or not head[2:].isdigit():
        return None
    return Message(line[1:2], int(head[2:]), body[1:-1])


class Replies:
    """The writer's end of its pipe to the supervisor: what doesn't fit is dropped."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def send(self, kind: str, text: str) -> bool:
        """Send one line; whether it was. A supervisor that is gone needs no reply."""
        line = " ".join(f"{kind} {text}".split()).encode()[: PIPE_BUF - 1] + b"\n"
        try:
            return os.write(self._descriptor, line) > 0
        except (BlockingIOError, BrokenPipeError):
            return False
