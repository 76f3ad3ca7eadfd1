"""`salus bench journal`: many interventions, the disk full in the middle, none lost silently.

The journal as the supervisor uses it, fed at a steady rate from this process. The disk is a tmpfs
of its own where one may be mounted; elsewhere the writer's files may not grow beyond a size, which
refuses its writes in the same way.
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from salus_ros.bench.gate_statistics import figures
from salus_ros.interfaces import Instant
from salus_ros.supervision.interventions import Intervention, Kind
from salus_ros.supervision.journal.feeder import Journal
from salus_ros.supervision.journal.reading import Entries
from salus_ros.supervision.journal.records import intervention_record
from salus_ros.supervision.journal.verification import verify
from salus_ros.supervision.modes import Mode

LINE = 640  # bytes, some more than a line of these records has
FULL_FROM, FULL_UNTIL = 0.4, 0.6  # of the records
POLL = 0.1  # s between two looks at what the writer tells, as the supervisor's
PATIENCE = 120.0  # s for the writer to finish


class BenchError(RuntimeError):
    """It couldn't be measured; the message is one line for the user."""


@dataclass
class Disk:
    """Where the journal lies; kind: how it is made full. make_room takes the writer's id."""

    kind: str
    folder: Path
    begin: Callable[[int], None]
    make_room: Callable[[int], None]


@dataclass
class Feeding:
    """What feeding cost [ns a record], and what the writer told."""

    costs: list[int] = field(default_factory=list)
    costs_while_full: list[int] = field(default_factory=list)
    polls: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def measure(records: int, rate: float, on_progress: Callable[[int], None]) -> dict[str, Any]:
    """Feed so many records, `rate` a second; account for all of them. Raises BenchError."""
    with full_disk(round(records * FULL_FROM * LINE)) as disk:
        folder = disk.folder / "journal"
        journal = Journal(folder)
        disk.begin(journal.writer_pid)
        begin = time.monotonic()
        feeding = _feed(journal, records, rate, disk, on_progress)
        seconds = time.monotonic() - begin
        ended = journal.close(PATIENCE)
        if not ended:
            raise BenchError(f"the writer didn't end within {PATIENCE:g} s")
        return {
            "disk": disk.kind,
            "rate": rate,
            "seconds": round(seconds, 2),
            **accounts(folder, journal),
            "feed_us": figures(feeding.costs, 1e3),
            "feed_us_while_full": figures(feeding.costs_while_full, 1e3),
            "poll_us": figures(feeding.polls, 1e3),
            "warnings": feeding.warnings,
        }


def _feed(
    journal: Journal, records: int, rate: float, disk: Disk, on_progress: Callable[[int], None]
) -> Feeding:
    feeding = Feeding()
    begin = next_poll = time.monotonic()
    for number in range(1, records + 1):
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))
        cost = _timed(partial(journal.feed, _record(number)))
        feeding.costs.append(cost)
        if journal.problem:
            feeding.costs_while_full.append(cost)
        if time.monotonic() >= next_poll:
            next_poll = time.monotonic() + POLL
            feeding.polls.append(_timed(partial(_poll, journal, feeding)))
            on_progress(number)
        if number == round(records * FULL_UNTIL):
            disk.make_room(journal.writer_pid)
    _await_recovery(journal, feeding)
    return feeding


def _await_recovery(journal: Journal, feeding: Feeding) -> None:
    deadline = time.monotonic() + PATIENCE
    while journal.problem and time.monotonic() < deadline:
        time.sleep(POLL)
        _poll(journal, feeding)


def _poll(journal: Journal, feeding: Feeding) -> None:
    feeding.warnings.extend(journal.poll())


def _timed(call: Callable[[], object]) -> int:
    begin = time.monotonic_ns()
    call()
    return time.monotonic_ns() - begin


def _record(number: int) -> dict[str, Any]:
    act = Intervention(
        Instant(time.time_ns(), time.monotonic_ns()),
        number,
        Mode.NOMINAL,
        Mode.HOLD,
        Kind.EVENT,
        "chunk_position",
        "chunk dropped: row 3: panda_joint3 at 3.1 rad is beyond its limit 2.897",
        source_id="scripted_expert/0123456789abcdef",
        chunk_number=number,
        value=3.1,
        bound=2.8973,
    )
    return intervention_record(act, ("chunk_fault", "resuming"), {"step_drift": 0.5})


def accounts(folder: Path, journal: Journal) -> dict[str, Any]:
    """Where each record went: in the journal, or in a count of it."""
    entries = list(Entries(folder))
    numbers = [entry["intervention"] for entry in entries if "intervention" in entry]
    left_out = sum(entry["left_out"] for entry in entries)
    troubles = [entry["details"] for entry in entries if entry["reason"] == "journal_trouble"]
    return {
        "records": journal.fed,
        "written": len(numbers),
        "left_out_and_counted": left_out,
        "lost_silently": journal.fed - len(numbers) - left_out,
        "twice": len(numbers) - len(set(numbers)),
        "in_order": numbers == sorted(numbers),
        "refused_by_the_pipe": journal.refused,
        "seconds_disk_full": round(sum(trouble["seconds"] for trouble in troubles), 2),
        "writes_refused": sum(trouble["tries"] for trouble in troubles),
        "intact": verify(folder).intact,
        "lines": len(entries),
    }


@contextmanager
def full_disk(size: int) -> Iterator[Disk]:
    """A disk that takes about `size` bytes, and more once room is made."""
    with tempfile.TemporaryDirectory(prefix="salus_journal_") as name:
        folder = Path(name)
        if not _mounted(folder, f"size={size}"):
            yield _limited(folder, size)
            return
        try:
            yield Disk(
                "tmpfs, full, then enlarged",
                folder,
                lambda _: None,
                lambda _: _remount(folder),
            )
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _mounted(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _remount(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)


def _limited(folder: Path, size: int) -> Disk:
    infinity = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    # Of one file, whose default size may be less.
    size = min(size, 15 << 20)

    def limit(writer: int) -> None:
        resource.prlimit(writer, resource.RLIMIT_FSIZE, (size, infinity[1]))

    def lift(writer: int) -> None:
        resource.prlimit(writer, resource.RLIMIT_FSIZE, infinity)

    return Disk("files that may not grow beyond a size, then may", folder, limit, lift)
