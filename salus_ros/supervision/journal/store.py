"""Lines on their way to the disk: nothing is let go before it is known to be there.

A write that fails leaves everything as it was, to be tried again. After a failed fsync the pages
may be marked clean although they were lost (fsync(2)), so all since the last good one is written
again from memory.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from salus_ros.supervision.journal.chain import Head, head_of, make_line
from salus_ros.supervision.journal.files import create, file_name, make_folder
from salus_ros.supervision.journal.recovery import Tail

SYNC_PERIOD = 0.5  # s; with the time that an fsync takes, still within the promised second
UNSYNCED_MAX = 1 << 20  # bytes; more than this is synced at once


class JournalStore:
    """Appends lines to the newest file, begins the next where it would grow too large.

    Methods raise OSError where the disk refuses. Nothing is lost by that, and calling one again
    goes on where it failed.
    """

    def __init__(self, folder: Path, tail: Tail, key: bytes | None, max_bytes: int) -> None:
        """max_bytes: of one file; a single line may exceed it."""
        self._folder = folder
        self._key = key
        self._max_bytes = max_bytes
        self.head: Head = tail.head
        self.synced_head: Head = tail.head
        self._file = -1 if tail.path is None else create(tail.path)
        self._synced = tail.size  # offset up to which the file is on disk
        self._unsynced = bytearray()  # what follows it
        self._written = 0  # bytes of that handed to the system
        self.removed = 0  # how often the file was found to have been removed
        self.begun = 0  # files
        self._oldest = 0.0  # when the first of them came [s, monotonic]

    def append(self, members: bytes) -> None:
        """Take a line over into memory; members: see `make_line`."""
        line = make_line(self.head, members, self._key)
        size = self._synced + len(self._unsynced)
        if self._file < 0 or (size and size + len(line) > self._max_bytes):
            self._next_file()
        if not self._unsynced:
            self._oldest = time.monotonic()
        self._unsynced += line
        self.head = head_of(self.head.sequence + 1, line)

    @property
    def sync_due(self) -> float:
        """Seconds until a sync is due; infinite where nothing waits for one."""
        if not self._unsynced:
            return float("inf")
        if len(self._unsynced) > UNSYNCED_MAX:
            return 0.0
        return max(0.0, self._oldest + SYNC_PERIOD - time.monotonic())

    def write(self) -> None:
        """Hand all lines to the system: from here on they survive this process."""
        with memoryview(self._unsynced) as pending:
            while self._written < len(pending):
                offset = self._synced + self._written
                self._written += os.pwrite(self._file, pending[self._written :], offset)

    def sync(self) -> None:
        """Have all lines on disk: from here on they survive the machine."""
        if not self._unsynced:
            return
        self._replace_removed()
        self.write()
        try:
            os.fsync(self._file)
        except OSError:
            self._written = 0
            raise
        self._synced += len(self._unsynced)
        self._unsynced.clear()
        self._written = 0
        self.synced_head = self.head

    def close(self) -> None:
        """Let go of the file; sync before."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _replace_removed(self) -> None:
        """Somebody removed the file: what goes on being written to it would vanish unseen."""
        if os.fstat(self._file).st_nlink:
            return
        make_folder(self._folder)
        following = create(self._folder / file_name(self.synced_head.sequence + 1))
        self.close()
        self._file, self._synced, self._written = following, 0, 0
        self.removed += 1
        self.begun += 1

    def _next_file(self) -> None:
        self.sync()
        following = create(self._folder / file_name(self.head.sequence + 1))
        self.close()
        self._file, self._synced = following, 0
        self.begun += 1
