"""The supervisor's side of the journal: it never waits, whatever the disk does."""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from select import PIPE_BUF
from typing import Any

from salus_ros.supervision.journal.chain import START, Head
from salus_ros.supervision.journal.errors import JournalError
from salus_ros.supervision.journal.protocol import CLOSE, NOTE, RECORD, encode
from salus_ros.supervision.journal.retention import KEEP_BYTES

MAX_BYTES = 16 << 20
"""Size at which a file is ended and the next one begun."""
PIPE_BYTES = 1 << 20  # some 2000 records: more than any second has
START_PATIENCE = 20.0  # s; of which the writer may wait 5 for another one to end
START_AGAIN = 1.0  # s between two starts of a writer whose predecessor was killed
CLOSE_PATIENCE = 2.0  # s; then the writer finishes by itself
_LONG = ("message", "reason", "source_id")

_encode_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Journal:
    """Feeds a writer process of its own. Calls must not overlap.

    head: number and hash of the newest line that is on disk, as of the last `poll`.
    fed: records given so far. refused: those of them that couldn't be handed over.
    problem: why nothing is recorded at present, one line; "": it is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        key_file: Path | None = None,
        max_bytes: int = MAX_BYTES,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        """Start the writer and wait until its first line is on disk.

        max_bytes: of one file. keep_bytes: of all; oldest files beyond that are deleted. Raises
        JournalError, one line, where the folder or the key can't be used.
        """
        self.folder = folder
        self.head: Head = START
        self.fed = self.refused = 0
        self.writer_pid = 0
        self.problem = ""
        self._unsaid = False  # the newest records were left out, and the writer can't know yet
        self._gone = False  # the writer, and the process that would begin another
        self._next_start = 0.0  # of another [s, monotonic]
        self._warnings: list[str] = []
        self._error = ""
        self._command = _writer_command(folder, key_file, max_bytes, keep_bytes)
        self._start(self._command)
        self._await_writer()

    def _start(self, command: Sequence[str]) -> None:
        """Start the writer, without waiting for it. Raises JournalError."""
        try:
            self._process = _start_process(command)
        except OSError as error:
            text = f"journal {self.folder}: its writer can't be started: {error.strerror or error}"
            raise JournalError(text) from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._records: int = self._process.stdin.fileno()
        self._answers: int = self._process.stdout.fileno()
        self._replies = b""
        os.set_blocking(self._records, False)
        os.set_blocking(self._answers, False)
        self._enlarge_pipe()

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
        """Take in what the writer tells, 1 us; returns its warnings, one line each.

        Where both of its processes were killed, another is begun, which takes a millisecond. What
        was in the pipe is lost then; the numbers tell how much, and the next line says it.
        """
        if not self._gone and not self._listen():
            self._lose_writer()
        if self._gone and time.monotonic() >= self._next_start:
            self._start_again()
        if self._unsaid and self._send(encode(NOTE, self.fed)):
            self._unsaid = False
        warnings, self._warnings = self._warnings, []
        return warnings

    def _lose_writer(self) -> None:
        self._gone = self._unsaid = True
        self._warn("the journal's writer is gone: nothing is recorded until another has begun")
        self._close_pipes()
        try:
            self._process.wait(0.01)  # it is as good as dead: its end of the pipes is closed
        except subprocess.TimeoutExpired:
            self._process.returncode = 0

    def _start_again(self) -> None:
        self._next_start = time.monotonic() + START_AGAIN
        try:
            self._start([*self._command, "--again"])
        except JournalError as error:
            self._warn(str(error))
        else:
            self._gone = False

    def _warn(self, problem: str) -> None:
        if problem != self.problem:
            self._warnings.append(problem)
        self.problem = problem

    def close(self, patience: float = CLOSE_PATIENCE) -> bool:
        """Say that it ends in order and wait for the writer, at most so long [s]; whether it ended.

        One that is still busy goes on by itself until all it was given is on disk.
        """
        deadline = time.monotonic() + patience
        self._say_end(deadline)
        self._close_pipes()
        try:
            self._process.wait(max(0.05, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # It is waited for by nobody from now on, which is what is wanted.
            self._process.returncode = 0
            return False
        return True

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _say_end(self, deadline: float) -> None:
        """CLOSE, as soon as there is room for it in the pipe."""
        if self._error or self._gone:
            return
        while not self._send(encode(CLOSE, self.fed)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([], [self._records], [], left)[1]:
                return

    def _send(self, message: bytes) -> bool:
        if self._gone:
            return False
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
            if self.problem:
                self._recover("the journal has a writer again: the one before was killed")
        elif kind == "recovered":
            self._recover(text)
        elif kind == "trouble":
            self._warn(text)
        elif kind == "warning":
            self._warnings.append(text)
        elif kind == "error":
            self._error = text

    def _recover(self, text: str) -> None:
        self.problem = ""
        self._warnings.append(text)


# fcntl.F_SETPIPE_SZ, which Python knows by name on Linux alone.
_F_SETPIPE_SZ = 1031


def _writer_command(
    folder: Path, key_file: Path | None, max_bytes: int, keep_bytes: int
) -> list[str]:
    command = [sys.executable, "-m", "salus_ros.supervision.journal.writer"]
    command += ["--folder", str(folder), "--session", os.urandom(8).hex()]
    command += ["--max-bytes", str(max_bytes), "--keep-bytes", str(keep_bytes)]
    if key_file is not None:
        command += ["--key-file", str(key_file)]
    return command


def _start_process(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C reaches only the supervisor."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0, start_new_session=True)
    # At once: an interpreter that starts at the supervisor's own priority would delay its ticks.
    with suppress(OSError):
        os.sched_setscheduler(process.pid, os.SCHED_OTHER, os.sched_param(0))
    return process


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
