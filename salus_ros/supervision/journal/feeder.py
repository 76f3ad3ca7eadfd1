"""The supervisor's side of the journal: it never waits, whatever the disk does."""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from select import PIPE_BUF
from typing import Any

from salus_ros.supervision.journal.chain import START, Head
from salus_ros.supervision.journal.errors import JournalError
from salus_ros.supervision.journal.protocol import CLOSE, NOTE, RECORD, encode

MAX_BYTES = 16 << 20
"""Size at which a file is ended and the next one begun."""
PIPE_BYTES = 1 << 20  # some 2000 records: more than any second has
START_PATIENCE = 20.0  # s; of which the writer may wait 5 for another one to end
CLOSE_PATIENCE = 2.0  # s; then the writer finishes by itself
_LONG = ("message", "reason", "source_id")

_encode_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Journal:
    """Feeds a writer process of its own. Calls must not overlap.

    head: number and hash of the newest line that is on disk, as of the last `poll`.
    fed: records given so far. refused: those of them that couldn't be handed over.
    """

    def __init__(
        self, folder: Path, *, key_file: Path | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        """Start the writer and wait until its first line is on disk.

        Raises JournalError, one line, where the folder or the key can't be used.
        """
        self.folder = folder
        self.head: Head = START
        self.fed = self.refused = 0
        self.writer_pid = 0
        self._unsaid = False  # the newest records were left out, and the writer can't know yet
        self._gone = False  # the writer, and the process that would begin another
        self._replies = b""
        self._warnings: list[str] = []
        self._error = ""
        self._process = _start_writer(folder, key_file, max_bytes)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._records: int = self._process.stdin.fileno()
        self._answers: int = self._process.stdout.fileno()
        os.set_blocking(self._records, False)
        os.set_blocking(self._answers, False)
        self._enlarge_pipe()
        self._await_writer()

    def _enlarge_pipe(self) -> None:
        # A user whose pipes use too much already gets no more: then the pipe stays as it is.
        with suppress(PermissionError):
            fcntl.fcntl(self._records, _F_SETPIPE_SZ, PIPE_BYTES)

    def _await_writer(self) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while not self.writer_pid and not self._error:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                self._error = f"journal {self.folder}: its writer didn't start in time"
            elif not self._listen():
                self._error = f"journal {self.folder}: its writer ended at once, see its output"
        if self._error:
            self.close(0.0)
            raise JournalError(self._error)

    def feed(self, record: Mapping[str, Any]) -> bool:
        """Hand one record over, some 10 us; whether it was. Never blocks, never raises.

        record: see `records`. What isn't handed over is counted, and the next line says how many.
        """
        self.fed += 1
        message = _message(record, self.fed)
        handed_over = bool(message) and self._send(message)
        self.refused += not handed_over
        self._unsaid = not handed_over
        return handed_over

    def poll(self) -> list[str]:
        """Take in what the writer tells, 1 us; returns its warnings, one line each."""
        if self._unsaid and self._send(encode(NOTE, self.fed)):
            self._unsaid = False
        if not self._listen() and not self._gone:
            self._gone = True
            self._warnings.append("the journal's writer is gone: nothing is recorded any more")
        warnings, self._warnings = self._warnings, []
        return warnings

    def close(self, patience: float = CLOSE_PATIENCE) -> bool:
        """Say that it ends in order and wait for the writer, at most so long [s]; whether it ended.

        One that is still busy goes on by itself until all it was given is on disk.
        """
        deadline = time.monotonic() + patience
        self._say_end(deadline)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(max(0.05, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # It is waited for by nobody from now on, which is what is wanted.
            self._process.returncode = 0
            return False
        return True

    def _say_end(self, deadline: float) -> None:
        """CLOSE, as soon as there is room for it in the pipe."""
        if self._error:
            return
        while not self._send(encode(CLOSE, self.fed)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([], [self._records], [], left)[1]:
                return

    def _send(self, message: bytes) -> bool:
        try:
            os.write(self._records, message)
        except OSError:  # full (BlockingIOError), or the writer is gone (BrokenPipeError)
            return False
        return True

    def _listen(self) -> bool:
        """Take in all replies that are there; False where there will be no more."""
        try:
            while data := os.read(self._answers, 1 << 16):
                *lines, self._replies = (self._replies + data).split(b"\n")
                for line in lines:
                    self._take_reply(*line.decode(errors="replace").split(" ", 1))
        except BlockingIOError:
            return True
        return False

    def _take_reply(self, kind: str, text: str) -> None:
        if kind == "head":
            sequence, digest = text.split()
            self.head = Head(int(sequence), digest)
        elif kind == "ready":
            self.writer_pid = int(text)
        elif kind == "warning":
            self._warnings.append(text)
        elif kind == "error":
            self._error = text


# fcntl.F_SETPIPE_SZ, which Python knows by name on Linux alone.
_F_SETPIPE_SZ = 1031


def _start_writer(folder: Path, key_file: Path | None, max_bytes: int) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C reaches only the supervisor."""
    command = [sys.executable, "-m", "salus_ros.supervision.journal.writer"]
    command += ["--folder", str(folder), "--max-bytes", str(max_bytes)]
    command += ["--session", os.urandom(8).hex()]
    if key_file is not None:
        command += ["--key-file", str(key_file)]
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0, start_new_session=True)
    except OSError as error:
        raise JournalError(f"journal {folder}: its writer can't be started: {error}") from error


def _message(record: Mapping[str, Any], number: int) -> bytes:
    """The record for the pipe, cut where it doesn't fit; empty where it is no JSON."""
    try:
        message = encode(RECORD, number, _encode_json(record))
        if len(message) > PIPE_BUF:
            message = encode(RECORD, number, _encode_json(_cut(record)))
    except (TypeError, ValueError, RecursionError):
        return b""
    return message if len(message) <= PIPE_BUF else b""


def _cut(record: Mapping[str, Any]) -> dict[str, Any]:
    """Without what may be long. A character is at most 12 bytes as ASCII."""
    cut = {name: record[name] for name in record if name not in ("detectors", "reasons")}
    cut |= {name: str(record[name])[:60] for name in _LONG if name in record}
    return cut | {"cut": True}
