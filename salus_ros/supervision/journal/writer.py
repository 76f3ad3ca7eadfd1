"""The process that writes the journal: `python -m salus_ros.supervision.journal.writer`.

Records come in on standard input, replies go out on standard output (see `protocol`). Nothing that
happens here can delay the supervisor: while the disk refuses, nothing more is read, the pipe fills,
and the supervisor counts what it couldn't hand over.

Two processes: the first waits for the second, and begins another where that one was killed, so that
what is in the pipe is still written. Both end when the supervisor has closed its end of the pipe,
in order or by dying, and all is on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

from salus_ros.supervision.journal.chain import START, Head
from salus_ros.supervision.journal.errors import JournalError, one_line
from salus_ros.supervision.journal.key import load_key
from salus_ros.supervision.journal.protocol import CLOSE, RECORD, Decoder, Message, Replies
from salus_ros.supervision.journal.recovery import Tail, lock_folder, recover
from salus_ros.supervision.journal.retention import DELETED, Retention, Surplus
from salus_ros.supervision.journal.store import JournalStore

LOOK = 0.02  # s between two looks into the pipe
RETRY = 0.2  # s between two tries while the disk refuses
GRACE = 10.0  # s; how long to go on trying once the supervisor is gone
READ = 1 << 16  # bytes read at once
DONE, REFUSED, GIVEN_UP, FAULT = 0, 1, 3, 4  # exit codes; after a fault the writer begins again
_CLOSED = ("journal_closed", "closed in order")
_ORPHANED = ("journal_orphaned", "the supervisor ended without closing the journal")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Writer:
    """Moves records from a descriptor into a store, and says in it what got lost on the way."""

    def __init__(
        self,
        store: JournalStore,
        retention: Retention,
        records: int,
        replies: Replies,
        session: str,
        fed: int,
    ) -> None:
        """session: one supervisor's life; fed: the newest number of it that is in the journal."""
        self._store = store
        self._retention = retention
        self._records = records
        self._replies = replies
        self._session = session.encode()
        self._fed = fed
        self._decoder = Decoder()
        self._waiting: deque[Message] = deque()  # what the disk hasn't taken yet
        self._more = False  # the pipe held more than could be read at once
        self._ended = self._in_order = self._end_noted = False
        self._trouble: tuple[str, float] | None = None  # first error, since when
        self._tries = 0
        self._gone_since: float | None = None  # the supervisor
        self._told: Head | None = None
        self._removed = 0

    def run(self) -> int:
        """Until the records end; returns an exit code."""
        while True:
            self._wait()
            if not self._waiting and not self._ended:
                self._read()
            self._save()
            if self._trouble is None and self._ended and self._finish():
                return DONE
            if self._trouble is not None and self._gone_for(GRACE):
                print("error: the journal's end can't be written: given up", file=sys.stderr)
                return GIVEN_UP

    def note(
        self, reason: str, message: str, *, left_out: int = 0, details: Mapping[str, Any] = _NOTHING
    ) -> None:
        """Append a line of the journal's own; left_out: records that it takes the place of."""
        content = {
            "kind": "journal",
            "wall": time.time_ns(),
            "steady": time.monotonic_ns(),
            "reason": reason,
            "message": message,
            "details": dict(details),
        }
        members = json.dumps(content, separators=(",", ":"))[1:-1].encode()
        self._append(members, self._fed + left_out, left_out)

    def sync(self) -> None:
        """Have all on disk, and tell the newest number and hash."""
        self._store.sync()
        self._tell_head()

    def _append(self, members: bytes, number: int, left_out: int) -> None:
        text = b'"session":"%s","fed":%d,"left_out":%d,%s'
        self._store.append(text % (self._session, number, left_out, members))
        self._fed = number

    def _wait(self) -> None:
        """Until it is time to look for records, or to try again.

        Not until there are some: waking a process costs the one that writes into the pipe more than
        the write itself (52 us in all instead of 15, measured), and that one is in its tick.
        """
        if self._trouble is not None:
            time.sleep(RETRY)
        elif not self._more:
            time.sleep(LOOK)

    def _read(self) -> None:
        if select.select([self._records], [], [], 0)[0]:
            data = os.read(self._records, READ)
            self._more = len(data) == READ
            self._ended = not data
            self._waiting.extend(self._decoder.feed(data))

    def _save(self) -> None:
        """As much as the disk takes."""
        try:
            self._take_over()
            self._store.write()
            if self._trouble is not None or self._store.sync_due == 0.0:
                self.sync()
            if self._trouble is not None:
                self._end_trouble(*self._trouble)
            if self._removed != self._store.removed:
                self._note_removed()
            self._delete_oldest()
            self._tell_head()
        except OSError as error:
            self._count_trouble(error)

    def _take_over(self) -> None:
        while self._waiting:
            message = self._waiting[0]
            if message.kind == RECORD:
                left_out = max(0, message.number - self._fed - 1)
                self._append(message.members, message.number, left_out)
            elif message.number > self._fed:
                left_out = message.number - self._fed
                text = f"{left_out} records were left out: the journal couldn't keep up"
                self.note("journal_left_out", text, left_out=left_out)
            self._in_order = message.kind == CLOSE
            self._waiting.popleft()

    def _count_trouble(self, error: OSError) -> None:
        self._tries += 1
        if self._trouble is None:
            text = error.strerror or str(error)
            self._trouble = text, time.monotonic()
            self._replies.send("trouble", f"the journal can't be written: {text}; trying again")

    def _end_trouble(self, error: str, since: float) -> None:
        seconds = round(time.monotonic() - since, 3)
        text = f"the disk refused {self._tries} times in {seconds:.1f} s: {error}"
        self.note("journal_trouble", text, details={"seconds": seconds, "tries": self._tries})
        self._trouble, self._tries = None, 0
        self._replies.send("recovered", f"the journal is written again: {text}")

    def _delete_oldest(self) -> None:
        warning = self._retention.apply(lambda: self._store.begun, self._say_deleted, self.sync)
        if warning:
            self._replies.send("warning", warning)

    def _say_deleted(self, surplus: Surplus) -> None:
        self.note(DELETED, surplus.text, details=surplus.details)

    def _note_removed(self) -> None:
        text = "the journal's file was removed while it was written: a new one was begun"
        self.note("journal_removed", text)
        self._removed = self._store.removed
        self._replies.send("warning", text)

    def _tell_head(self) -> None:
        head = self._store.synced_head
        if head != self._told and self._replies.send("head", f"{head.sequence} {head.hash}"):
            self._told = head

    def _finish(self) -> bool:
        """Note how it ended; whether that is on disk."""
        try:
            if not self._end_noted:
                self.note(*(_CLOSED if self._in_order else _ORPHANED))
                self._end_noted = True
            self.sync()
        except OSError as error:
            self._count_trouble(error)
            return False
        self._store.close()
        return True

    def _gone_for(self, seconds: float) -> bool:
        """Whether the other end of the pipe has been closed for so long."""
        if not _hung_up(self._records):
            return False
        self._gone_since = self._gone_since or time.monotonic()
        return time.monotonic() - self._gone_since > seconds


def _hung_up(pipe: int) -> bool:
    """Whether the other end of a pipe has been closed."""
    watch = select.poll()
    watch.register(pipe, 0)
    return any(event & select.POLLHUP for _, event in watch.poll(0))


def open_writer(options: argparse.Namespace, again: bool, replies: Replies) -> Writer:
    """Take the folder, find the journal's end, write the first line.

    again: a writer of this session was killed. Raises JournalError or OSError.
    """
    with ExitStack() as stack:
        lock = lock_folder(options.folder)
        stack.callback(os.close, lock)
        key = load_key(options.key_file, private=True) if options.key_file else None
        tail = recover(options.folder, key)
        store = JournalStore(options.folder, tail, key, options.max_bytes)
        stack.callback(store.close)
        writer = _begin(options, again, replies, tail, store)
        stack.pop_all()  # the lock lasts until the process ends
    for text in tail.torn:
        replies.send("warning", text)
    return writer


def _begin(
    options: argparse.Namespace, again: bool, replies: Replies, tail: Tail, store: JournalStore
) -> Writer:
    same = tail.content.get("session") == options.session
    fed = int(tail.content.get("fed", 0)) if same else 0
    retention = Retention(options.folder, options.keep_bytes)
    writer = Writer(store, retention, sys.stdin.fileno(), replies, options.session, fed)
    in_order = tail.head == START or tail.content.get("reason") == _CLOSED[0]
    writer.note(
        "journal_opened",
        _opening_text(tail, again, in_order),
        details={"torn": list(tail.torn), "after_close": in_order},
    )
    try:
        writer.sync()
    except OSError:
        if not again:
            raise
        # Nobody waits for this line: it is tried again like any other.
    return writer


def _opening_text(tail: Tail, again: bool, in_order: bool) -> str:
    text = "opened"
    if again:
        text = "opened again: the writer was killed"
    elif not in_order:
        text = "opened; it wasn't closed in order: the last second before may be missing"
    return "; ".join((text, *tail.torn))


def _write(options: argparse.Namespace, again: bool) -> int:
    """One writer's life; returns its exit code."""
    replies = Replies(sys.stdout.fileno())
    alone_since: float | None = None
    while True:
        try:
            writer = open_writer(options, again, replies)
            break
        except (JournalError, OSError) as error:
            text = str(error)
            if isinstance(error, OSError):
                text = f"{one_line(options.folder, error)}: give a folder that can be written"
            if not again:
                replies.send("error", text)
                return REFUSED
            replies.send("trouble", text)
            if _hung_up(sys.stdin.fileno()):
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since > GRACE:
                    print(f"error: {text}: given up", file=sys.stderr)
                    return GIVEN_UP
            time.sleep(RETRY)
    replies.send("ready", f"{os.getpid()}")
    return writer.run()


def _keep_writing(options: argparse.Namespace) -> int:
    """Begin a writer, and another where something killed it."""
    again: bool = options.again
    while True:
        child = os.fork()
        if child == 0:
            os._exit(_exit_code(options, again))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code in (DONE, REFUSED, GIVEN_UP):
            return code
        again = True
        time.sleep(RETRY)


def _exit_code(options: argparse.Namespace, again: bool) -> int:
    try:
        return _write(options, again)
    except BaseException:
        traceback.print_exc()
        return FAULT


def _be_ordinary() -> None:
    """Undo what a real-time parent hands down; its locked memory isn't (mlock(2)).

    What ends the supervisor must not end the writer, too: it still has to write.
    """
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def main() -> int:
    """Entry point."""
    _be_ordinary()
    parser = argparse.ArgumentParser(description="Writes the journal; begun by the supervisor.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--max-bytes", type=int, required=True)
    parser.add_argument("--keep-bytes", type=int, required=True)
    parser.add_argument("--session", required=True)
    parser.add_argument("--again", action="store_true", help="Both processes were killed.")
    return _keep_writing(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
