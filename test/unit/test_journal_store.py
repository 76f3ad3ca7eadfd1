"""The journal without its process: what is found after a crash, and what `verify` says."""

import json
import os
from pathlib import Path

import pytest

from salus_ros.supervision.journal.chain import START, parse_line
from salus_ros.supervision.journal.errors import JournalError
from salus_ros.supervision.journal.files import journal_files
from salus_ros.supervision.journal.key import load_key
from salus_ros.supervision.journal.recovery import recover
from salus_ros.supervision.journal.retention import DELETED, Retention
from salus_ros.supervision.journal.store import JournalStore
from salus_ros.supervision.journal.verification import verify

KEY = b"0123456789abcdef"


def write(folder, count, key=None, max_bytes=1 << 20):
    """Append lines where the journal ends, as a writer that begins does; returns the head."""
    folder.mkdir(exist_ok=True)
    store = JournalStore(folder, recover(folder, key), key, max_bytes)
    for number in range(count):
        store.append(b'"fed":%d,"text":"entry %d"' % (number, number))
    store.sync()
    store.close()
    return store.head


def only_file(folder):
    (path,) = journal_files(folder)
    return path


def problems(folder, **options):
    return [str(problem) for problem in verify(folder, **options).problems]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


def test_a_journal_goes_on_over_starts_and_files(folder):
    write(folder, 5, max_bytes=600)
    head = write(folder, 5, max_bytes=600)
    assert len(journal_files(folder)) > 2
    result = verify(folder, head.hash)
    assert result.intact and result.lines == head.sequence == 10
    assert result.head == head
    assert all(path.stat().st_size <= 600 for path in journal_files(folder))
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in journal_files(folder))


def test_the_head_is_what_sha256sum_says_of_the_last_line(folder):
    import hashlib

    head = write(folder, 3)
    last = only_file(folder).read_bytes().splitlines(keepends=True)[-1]
    assert hashlib.sha256(last).hexdigest() == head.hash


@pytest.mark.parametrize("rest", [b'{"sequence":4,"prev', b"\0" * 4096, b'{"a":1}\n\xff\xfe\n{'])
def test_a_torn_end_is_set_aside_and_told(folder, rest):
    write(folder, 3)
    path = only_file(folder)
    path.write_bytes(path.read_bytes() + rest)
    assert problems(folder)
    tail = recover(folder, None)
    assert tail.head.sequence == 3
    (aside,) = folder.glob("torn-*")
    assert aside.read_bytes() == rest
    assert aside.stat().st_mode & 0o777 == 0o600
    assert (
        f"{len(rest)} bytes after the last good line" in tail.torn[0] and aside.name in tail.torn[0]
    )
    assert write(folder, 2).sequence == 5
    assert problems(folder) == []


def test_a_file_with_nothing_but_a_torn_line_is_begun_anew(folder):
    write(folder, 4, max_bytes=600)
    *_, last = journal_files(folder)
    last.write_bytes(last.read_bytes()[:20])
    assert recover(folder, None).path != last
    assert write(folder, 3, max_bytes=600).sequence > 4
    assert problems(folder) == []


def test_an_empty_folder_begins_a_chain(folder):
    folder.mkdir()
    assert recover(folder, None).head == START


def test_another_key_or_none_is_refused_and_nothing_is_changed(folder):
    write(folder, 3, KEY)
    before = only_file(folder).read_bytes()
    with pytest.raises(JournalError, match="another key"):
        recover(folder, b"x" * 16)
    with pytest.raises(JournalError, match="written with a key: give its file"):
        recover(folder, None)
    assert only_file(folder).read_bytes() == before
    assert not list(folder.glob("torn-*"))


def test_a_journal_without_a_key_is_not_continued_with_one(folder):
    write(folder, 3)
    with pytest.raises(JournalError, match="begun without a key"):
        recover(folder, KEY)


def test_hmacs_are_checked_with_the_key_alone(folder):
    head = write(folder, 3, KEY)
    assert problems(folder, key=KEY, head=head.hash) == []
    assert problems(folder) == []
    assert len(problems(folder, key=b"y" * 16)) == 3


def test_a_chain_made_anew_lacks_the_hmac(folder, tmp_path):
    write(folder, 3, KEY)
    forged = tmp_path / "forged"
    write(forged, 3)
    assert problems(forged) == []
    assert [p.partition(": ")[2] for p in problems(forged, key=KEY)] == ["has no HMAC"] * 3


def edit(folder, change):
    path = only_file(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))


def swap(lines):
    lines[2], lines[3] = lines[3], lines[2]


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (lambda ls: ls.pop(2), 3, "numbers 3 to 3 are missing before it"),
        (lambda ls: ls.insert(2, ls[0]), 3, "number 1 stands where 3 is due"),
        (lambda ls: ls.insert(2, b"{}\n"), 3, "not a line of a journal"),
        (lambda ls: ls.insert(2, b"\n"), 3, "not readable as JSON"),
        (swap, 3, "numbers 3 to 3 are missing before it"),
        (lambda ls: ls.__setitem__(1, ls[1].replace(b"y 1", b"y 9")), 2, "changed since"),
        (lambda ls: ls.__setitem__(5, ls[5].replace(b"y 5", b"y 9")), 6, "changed since"),
        (lambda ls: ls.__setitem__(5, ls[5][:-1]), 6, "torn"),
        (lambda ls: ls.pop(0), 1, "numbers 1 to 1 are missing before it"),
    ],
)
def test_what_was_done_to_a_line_is_said_with_its_number(folder, change, line, says):
    write(folder, 6)
    edit(folder, change)
    assert problems(folder)[0].startswith(f"journal-000000000001.jsonl, line {line}: {says}")


def test_one_changed_line_is_one_problem(folder):
    write(folder, 6)
    edit(folder, lambda lines: lines.__setitem__(2, lines[2].replace(b"y 2", b"y 7")))
    assert len(problems(folder)) == 1


def test_a_line_changed_with_its_seal_doesnt_fit_the_next(folder):
    import hashlib

    write(folder, 4)

    def forge(lines):
        text = parse_line(lines[1]).sealed.replace(b"y 1", b"y 9")
        seal = hashlib.sha256(text).hexdigest().encode()
        lines[1] = text + b',"sha256":"' + seal + b'"}\n'

    edit(folder, forge)
    assert problems(folder) == [
        "journal-000000000001.jsonl, line 3: doesn't follow the line before it: one of the two was "
        "changed"
    ]


def test_a_cut_tail_is_found_where_the_head_is_known(folder):
    head = write(folder, 6)
    edit(folder, lambda lines: lines.pop())
    assert problems(folder) == []
    assert "nowhere in the chain" in problems(folder, head=head.hash)[0]


def test_a_head_of_yesterday_is_in_the_chain(folder):
    head = write(folder, 3)
    write(folder, 3)
    assert problems(folder, head=head.hash) == []


def test_a_missing_file_is_found(folder):
    write(folder, 12, max_bytes=600)
    files = journal_files(folder)
    files[2].unlink()
    (problem,) = problems(folder)
    assert problem.startswith(f"{files[3].name}, line 1: numbers ")
    assert "are missing before it" in problem


def test_renamed_and_emptied_files_are_found(folder):
    write(folder, 12, max_bytes=600)
    files = journal_files(folder)
    files[2].write_bytes(b"")
    assert f"{files[2].name}: empty" in problems(folder)
    files[2].unlink()
    files[-1].rename(folder / "journal-999999999999.jsonl")
    assert "which the file's name doesn't say" in problems(folder)[-1]


def test_one_file_of_many_can_be_verified_alone(folder):
    write(folder, 12, max_bytes=600)
    assert verify(journal_files(folder)[2]).intact


def test_a_key_must_be_private_and_long(tmp_path):
    path = tmp_path / "key"
    path.write_text("short\n")
    path.chmod(0o600)
    with pytest.raises(JournalError, match="holds 5 bytes: give at least 16"):
        load_key(path)
    path.write_bytes(KEY + b"\n")
    assert load_key(path, private=True) == KEY
    path.chmod(0o644)
    assert load_key(path) == KEY
    with pytest.raises(JournalError, match="open to others: chmod 600"):
        load_key(path, private=True)
    with pytest.raises(JournalError, match="No such file"):
        load_key(tmp_path / "none")


def test_what_the_disk_refuses_is_written_when_it_takes_it_again(folder, monkeypatch):
    """Half a write, then ENOSPC, then an fsync with EIO: the lines are there once, in order."""
    folder.mkdir()
    store = JournalStore(folder, recover(folder, None), None, 1 << 20)
    for number in range(4):
        store.append(b'"text":"entry %d"' % number)
    pwrite, fsync = os.pwrite, os.fsync
    calls = []

    def half(file, data, offset):
        calls.append(offset)
        if len(calls) == 1:
            return pwrite(file, data[: len(data) // 2], offset)
        raise OSError(28, "No space left on device")

    def broken(file):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(OSError, match="No space"):
        store.sync()
    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input"):
        store.sync()
    only_file(folder).write_bytes(b"")  # what such a disk may have done
    monkeypatch.setattr(os, "fsync", fsync)
    store.append(b'"text":"after"')
    store.sync()
    store.close()
    result = verify(folder, store.head.hash)
    assert result.intact and result.lines == 5


def retained(folder, keep_bytes):
    """A store that goes on with a journal, and what deletes its oldest files."""
    store = JournalStore(folder, recover(folder, None), None, 600)

    def say(surplus):
        note = {"reason": DELETED, "details": dict(surplus.details)}
        store.append(json.dumps(note)[1:-1].encode())

    return store, lambda: Retention(folder, keep_bytes).apply(lambda: store.begun, say, store.sync)


def test_deleted_files_are_said_in_the_chain_before_they_go(folder):
    head = write(folder, 20, max_bytes=600)
    first, second, *_ = journal_files(folder)
    store, apply = retained(folder, 2500)
    assert apply() == ""
    store.close()
    left = journal_files(folder)
    assert left[0] not in (first, second)
    assert sum(path.stat().st_size for path in left) <= 2500
    result = verify(folder, head.hash)
    assert result.intact and result.deleted > 2
    # One more than the chain tells of.
    left[0].unlink()
    assert "are missing before it" in problems(folder)[0]


def test_a_crash_between_saying_and_deleting_leaves_a_whole_chain(folder, monkeypatch):
    write(folder, 20, max_bytes=600)
    store, apply = retained(folder, 2500)

    def crash(path, missing_ok=False):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", crash)
        apply()
    store.close()
    assert problems(folder) == [] and verify(folder).deleted == 0
    store, apply = retained(folder, 2500)
    assert apply() == ""
    store.close()
    assert problems(folder) == [] and verify(folder).deleted > 0


def test_a_file_that_cant_be_deleted_is_said_and_the_journal_goes_on(folder, monkeypatch):
    write(folder, 20, max_bytes=600)
    store, apply = retained(folder, 2500)

    def refused(path, missing_ok=False):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        assert "can't be deleted: Operation not permitted" in apply()
    store.append(b'"text":"after"')
    store.sync()
    store.close()
    assert problems(folder) == []


def test_the_file_that_is_written_is_never_deleted(folder):
    write(folder, 3)
    store, apply = retained(folder, 1)
    assert apply() == ""
    store.close()
    assert len(journal_files(folder)) == 1


def test_a_line_that_tells_of_another_deleted_line_is_no_excuse(folder):
    write(folder, 9, max_bytes=600)
    first, second, *_ = journal_files(folder)
    number = int(second.stem.split("-")[1]) - 1
    store, _ = retained(folder, 1 << 20)
    details = {"file": first.name, "sequence": number, "hash": "0" * 64}
    store.append(json.dumps({"reason": DELETED, "details": details})[1:-1].encode())
    store.sync()
    store.close()
    first.unlink()
    assert "are missing before it" in problems(folder)[0]
