"""The journal with its process: full disks, stalled and killed writers, killed supervisors."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from salus_ros.interfaces import Instant
from salus_ros.supervision.interventions import Intervention, Kind
from salus_ros.supervision.journal.errors import JournalError
from salus_ros.supervision.journal.feeder import Journal
from salus_ros.supervision.journal.files import journal_files
from salus_ros.supervision.journal.reading import Entries
from salus_ros.supervision.journal.records import intervention_record
from salus_ros.supervision.journal.verification import verify
from salus_ros.supervision.modes import Mode

PATIENCE = 30.0  # s; only a broken journal takes so long
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def record(number, **changes):
    values = {
        "stamp": Instant(2, 3),
        "sequence": number,
        "mode_before": Mode.NOMINAL,
        "mode_after": Mode.HOLD,
        "kind": Kind.EVENT,
        "reason": "chunk_position",
        "message": "chunk dropped: panda_joint3 is 3.1 rad",
        "source_id": "expert",
        "chunk_number": 7,
        "value": 3.1,
        "bound": 2.9,
    }
    return intervention_record(Intervention(**{**values, **changes}), ("chunk_fault",), {"d": 0.5})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def journal(folder):
    journal = Journal(folder)
    yield journal
    journal.close()


def wait(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def wait_for_head(journal, written):
    """Until as many interventions and what was left out are on disk."""

    def there():
        journal.poll()
        return accounted(journal.folder)[0] >= written

    wait(there, f"{written} entries")


def accounted(folder):
    """(interventions written, records said to be left out)."""
    entries = list(Entries(folder))
    written = sum("intervention" in entry for entry in entries)
    return written, sum(entry["left_out"] for entry in entries)


def reasons(folder):
    return [entry["reason"] for entry in Entries(folder)]


def test_an_entry_holds_all_that_is_promised(folder):
    with_nothing = {"value": float("nan"), "bound": float("-inf")}
    journal = Journal(folder)
    journal.feed(record(1))
    journal.feed(record(2, kind=Kind.END, count=3, worst_value=4.0, **with_nothing))
    assert journal.close()
    opened, first, second, closed = Entries(folder)
    expected = {
        "sequence": 2, "kind": "event", "mode_before": "NOMINAL", "mode_after": "HOLD", "ros": 2,
        "steady": 3, "intervention": 1, "reason": "chunk_position", "reasons": ["chunk_fault"],
        "value": 3.1, "bound": 2.9, "worst": None, "detectors": {"d": 0.5}, "left_out": 0,
        "source_id": "expert", "chunk": 7, "message": "chunk dropped: panda_joint3 is 3.1 rad",
    }  # fmt: skip
    assert expected.items() <= first.items()
    assert abs(first["wall"] - time.time_ns()) < 3600e9
    assert (second["kind"], second["count"], second["worst"]) == ("end", 3, 4.0)
    assert (second["value"], second["bound"]) == (None, "-inf")
    assert (opened["reason"], closed["reason"]) == ("journal_opened", "journal_closed")
    assert verify(folder).intact


def test_folder_and_files_are_for_their_owner_alone(journal, folder):
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())


def test_the_head_comes_back(journal, folder):
    before = journal.head
    assert before.sequence == 1
    journal.feed(record(1))
    wait(lambda: journal.poll() or journal.head.sequence == 2, "the head")
    assert verify(folder, journal.head.hash).head == journal.head


def test_the_writer_is_an_ordinary_small_process(folder):
    """Neither ROS, torch nor numpy; not the supervisor's real-time priority."""
    code = "import sys, salus_ros.supervision.journal.writer; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert not {"rclpy", "torch", "numpy"} & set(modules.stdout.split())
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    except PermissionError:
        pytest.skip("may not run under SCHED_FIFO")
    try:
        journal = Journal(folder)
        try:
            assert os.sched_getscheduler(journal.writer_pid) == os.SCHED_OTHER
            status = Path(f"/proc/{journal.writer_pid}/status").read_text()
            assert "VmLck:\t       0 kB" in status
        finally:
            journal.close()
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def stalled(process):
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def feed_until_refused(journal, count):
    for number in range(count):
        journal.feed(record(number))
    return journal.refused


def test_a_stalled_writer_blocks_nobody_and_what_was_left_out_is_said(folder):
    journal = Journal(folder)
    with stalled(journal.writer_pid):
        assert not os.get_blocking(journal._records)
        refused = feed_until_refused(journal, 6000)
    assert refused > 0
    wait_for_head(journal, 6000 - refused)
    journal.feed(record(6000))
    assert journal.close(PATIENCE)
    assert accounted(folder) == (6001 - journal.refused, journal.refused)
    assert verify(folder).intact


def test_what_was_left_out_is_said_without_another_record(folder):
    """Each poll tries to say it, as the supervisor's does."""
    journal = Journal(folder)
    with stalled(journal.writer_pid):
        refused = feed_until_refused(journal, 6000)
        journal.poll()
    wait(lambda: journal.poll() or "journal_left_out" in reasons(folder), "the count")
    assert accounted(folder) == (6000 - refused, refused)
    journal.close()


def test_a_record_that_is_no_json_is_left_out_and_counted(folder):
    journal = Journal(folder)
    assert not journal.feed({"value": object()})
    assert not journal.feed({"value": float("nan")})
    assert journal.feed(record(1))
    assert journal.close()
    assert [e["left_out"] for e in Entries(folder) if "intervention" in e] == [2]


def test_texts_of_any_length_fit(folder):
    """A stranger's message decides how long its names are."""
    journal = Journal(folder)
    hostile = "\U0001f600" * 100_000
    act = Intervention(
        Instant(1, 1), 1, Mode.HOLD, Mode.HOLD, Kind.EVENT, hostile, hostile, hostile, 2**32 - 1
    )
    assert journal.feed(intervention_record(act, [hostile] * 100, {hostile: 1.0}))
    assert journal.close()
    (entry,) = [e for e in Entries(folder) if "intervention" in e]
    assert entry["message"].startswith("\U0001f600" * 50)
    assert verify(folder).intact


def test_a_killed_writer_is_followed_by_another(folder):
    journal = Journal(folder)
    for number in range(500):
        journal.feed(record(number))
        if number == 250:
            wait_for_head(journal, 1)
            os.kill(journal.writer_pid, signal.SIGKILL)
    first = journal.writer_pid
    wait(lambda: journal.poll() or journal.writer_pid != first, "another writer")
    assert journal.close(PATIENCE)
    written, left_out = accounted(folder)
    assert written + left_out == 500
    texts = [e["message"] for e in Entries(folder) if e["reason"] == "journal_opened"]
    assert len(texts) == 2 and "the writer was killed" in texts[1]
    assert verify(folder).intact


def kill_both_writers(journal):
    """At once: the first would begin another second."""
    for process in (journal._process.pid, journal.writer_pid):
        os.kill(process, signal.SIGKILL)
    journal._process.wait()


def test_where_both_writers_were_killed_others_are_begun_and_the_loss_is_counted(folder):
    journal = Journal(folder)
    journal.feed(record(1))
    wait_for_head(journal, 1)
    first = journal.writer_pid
    kill_both_writers(journal)
    wait(lambda: not journal.feed(record(2)), "the pipe's end")
    assert "the journal's writer is gone" in journal.poll()[0]
    assert "the journal's writer is gone" in journal.problem
    assert journal._process.pid != first
    wait(lambda: "has a writer again" in "".join(journal.poll()), "another writer")
    assert not journal.problem and journal.writer_pid != first
    journal.feed(record(3))
    assert journal.close(PATIENCE)
    written, left_out = accounted(folder)
    assert written + left_out == journal.fed
    assert written == 2 and left_out >= 1
    (again,) = [e["message"] for e in Entries(folder) if "opened again" in e["message"]]
    assert "the writer was killed" in again
    assert len({entry["session"] for entry in Entries(folder)}) == 1
    assert verify(folder).intact


def test_a_writer_that_cant_be_begun_again_is_a_problem_that_lasts(folder, monkeypatch):
    """Nothing raises, no tick waits, and it is tried until it works."""
    from salus_ros.supervision.journal import feeder

    def refused(command):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(feeder, "START_AGAIN", 0.0)
    journal = Journal(folder)
    start = feeder._start_process
    monkeypatch.setattr(feeder, "_start_process", refused)
    kill_both_writers(journal)
    warnings = []
    wait(lambda: warnings.extend(journal.poll()) or len(warnings) == 2, "the refusal")
    assert "its writer can't be started: Resource temporarily unavailable" in journal.problem
    assert not journal.feed(record(1)) and journal.poll() == []
    monkeypatch.setattr(feeder, "_start_process", start)
    wait(lambda: journal.poll() or not journal.problem, "another writer")
    assert journal.close(PATIENCE)
    assert accounted(folder) == (0, 1)


SUPERVISOR = """
import sys, time
from pathlib import Path
from salus_ros.supervision.journal.feeder import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(300):
    journal.feed({"intervention": number, "reason": "test"})
print(journal.writer_pid, flush=True)
time.sleep(60)
"""


def test_a_killed_supervisor_loses_nothing_of_what_it_gave(folder):
    """The writer ends by itself when all is on disk; the next one goes on."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(folder)], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    wait(lambda: "journal_orphaned" in reasons(folder), "the writer's last line")
    assert accounted(folder) == (300, 0)
    journal = Journal(folder)
    assert journal.feed(record(1)) and journal.close()
    assert verify(folder).intact
    assert accounted(folder) == (301, 0)


@contextmanager
def limited_file_size(journal, size):
    """As a disk that is full beyond so many bytes of a file; ended early by calling the result."""
    limits = resource.prlimit(journal.writer_pid, resource.RLIMIT_FSIZE, (size, UNLIMITED[1]))
    yield lambda: resource.prlimit(journal.writer_pid, resource.RLIMIT_FSIZE, limits)


def feed_over_trouble(journal, count, end_trouble):
    """Feed in three parts: before, while the disk refuses, and after."""
    warnings = []

    def warned(text):
        warnings.extend(journal.poll())
        return any(text in warning for warning in warnings)

    number = 0
    while number < count * 2 // 3:
        number += 1
        journal.feed(record(number))
    wait(lambda: warned("can't be written"), "the disk to refuse")
    assert "can't be written" in journal.problem
    end_trouble()
    wait(lambda: warned("is written again"), "the disk to take it")
    assert not journal.problem
    while number < count:
        number += 1
        journal.feed(record(number))
    return warnings


def check_all_accounted(journal, folder, count):
    assert journal.close(PATIENCE)
    written, left_out = accounted(folder)
    assert written + left_out == count
    assert left_out == journal.refused
    numbers = [entry["intervention"] for entry in Entries(folder) if "intervention" in entry]
    assert numbers == sorted(set(numbers))
    (trouble,) = [entry for entry in Entries(folder) if entry["reason"] == "journal_trouble"]
    assert trouble["details"]["tries"] >= 1
    result = verify(folder)
    assert result.intact, result.problems[:3]
    return written


@pytest.mark.parametrize("count", [6000, pytest.param(100_000, marks=pytest.mark.thorough)])
def test_a_file_that_may_not_grow_loses_nothing_silently(folder, count):
    journal = Journal(folder)
    with limited_file_size(journal, 200_123) as lift:
        warnings = feed_over_trouble(journal, count, lift)
    assert any("File too large" in warning for warning in warnings)
    assert check_all_accounted(journal, folder, count) > 500


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 1 MiB; and a file on it that fills half of that."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("may not mount a tmpfs: needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("count", [6000, pytest.param(100_000, marks=pytest.mark.thorough)])
def test_a_full_disk_loses_nothing_silently(small_disk, count):
    journal = Journal(small_disk / "journal", max_bytes=400_000)

    def make_room():
        command = ["mount", "-o", "remount,size=200m", str(small_disk)]
        subprocess.run(command, check=True)

    warnings = feed_over_trouble(journal, count, make_room)
    assert any("No space left on device" in warning for warning in warnings)
    assert check_all_accounted(journal, small_disk / "journal", count) > 500
    assert len(journal_files(small_disk / "journal")) > 2


def test_a_writer_killed_while_the_disk_is_full_goes_on(small_disk):
    """Torn in the middle of a line, and no room even to say so."""
    folder = small_disk / "journal"
    journal = Journal(folder)
    for number in range(4000):
        journal.feed(record(number))
    warnings = []
    wait(lambda: warnings.extend(journal.poll()) or warnings, "the disk to refuse")
    first = journal.writer_pid
    os.kill(first, signal.SIGKILL)
    wait(lambda: warnings.extend(journal.poll()) or len(warnings) > 1, "the next writer to refuse")
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    wait(lambda: journal.poll() or journal.writer_pid != first, "the next writer")
    assert journal.close(PATIENCE)
    written, left_out = accounted(folder)
    assert written + left_out == 4000
    assert verify(folder).intact


def test_the_oldest_files_are_deleted_and_the_chain_says_so(folder):
    """What is left is intact, of the wanted size, and ends with the newest."""
    journal = Journal(folder, max_bytes=20_000, keep_bytes=60_000)
    for number in range(600):
        journal.feed(record(number))
    assert journal.close(PATIENCE)
    files = journal_files(folder)
    assert 2 <= len(files) <= 4
    assert sum(path.stat().st_size for path in files) < 85_000
    result = verify(folder)
    assert result.intact, result.problems
    assert result.deleted > 300
    entries = list(Entries(folder))
    assert entries[0]["sequence"] == result.deleted + 1
    assert [e["intervention"] for e in entries if "intervention" in e][-1] == 599
    deleted = [e for e in entries if e["reason"] == "journal_deleted"]
    assert deleted[-1]["details"]["sequence"] == result.deleted
    # A restart goes on with it, and deletes on.
    journal = Journal(folder, max_bytes=20_000, keep_bytes=20_000)
    assert journal.close(PATIENCE)
    assert verify(folder).intact and verify(folder).deleted > result.deleted


def test_a_removed_file_is_noticed(journal, folder):
    journal_files(folder)[0].unlink()
    journal.feed(record(1))
    warnings = []
    wait(lambda: warnings.extend(journal.poll()) or warnings, "a warning")
    assert "removed while it was written" in warnings[0]
    assert not verify(folder).intact


def test_a_folder_in_use_is_refused(journal, folder):
    with pytest.raises(JournalError, match="in use by another supervisor: give a folder for each"):
        Journal(folder)


def test_impossible_folders_are_refused_in_one_line(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for folder, says in [
        (file, "it is no folder: give a folder that can be written"),
        (file / "below", "it is no folder"),
        (Path("/proc/salus"), "/proc/salus: "),
    ]:
        with pytest.raises(JournalError, match=says) as error:
            Journal(folder)
        assert "\n" not in str(error.value)


def test_read_only_and_full_disks_are_refused_at_the_start(small_disk):
    fill = small_disk / "fill"
    with fill.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"0" * 65536)
    with pytest.raises(JournalError, match="No space left on device"):
        Journal(small_disk / "journal")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(JournalError, match="Read-only file system"):
        Journal(small_disk / "other")


def test_a_key_makes_hmacs(folder, tmp_path):
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef\n")
    with pytest.raises(JournalError, match="open to others"):
        Journal(folder, key_file=key)
    key.chmod(0o600)
    journal = Journal(folder, key_file=key)
    journal.feed(record(1))
    journal.close()
    lines = journal_files(folder)[0].read_text().splitlines()
    assert all("hmac" in json.loads(line) for line in lines)
    assert verify(folder, key=key.read_bytes().strip()).intact
    assert not verify(folder, key=b"another key of 16").intact


def test_the_bench_accounts_for_every_record():
    """As `salus bench journal` does with more of them."""
    from salus_ros.bench.gate_journal import measure

    found = measure(3000, 20_000.0, lambda _: None)
    assert found["records"] == 3000
    assert found["written"] + found["left_out_and_counted"] == 3000
    assert found["lost_silently"] == found["twice"] == 0
    assert found["intact"] and found["in_order"]
    assert found["writes_refused"] > 0, "the disk was never full"
