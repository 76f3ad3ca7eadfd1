"""Whatever is done to a journal's bytes, `verify` finds it."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_ros.supervision.journal.files import journal_files
from salus_ros.supervision.journal.recovery import recover
from salus_ros.supervision.journal.retention import DELETED, Retention
from salus_ros.supervision.journal.store import JournalStore
from salus_ros.supervision.journal.verification import verify

KEY = b"0123456789abcdef"
LINES = 14


def write(folder, texts, key, max_bytes):
    store = JournalStore(folder, recover(folder, key), key, max_bytes)
    for text in texts:
        store.append(b'"message":%s' % json.dumps(text).encode())
    store.sync()
    store.close()
    return store.head


def delete_oldest(folder, key, keep_bytes):
    """As the writer does; returns the head."""
    store = JournalStore(folder, recover(folder, key), key, 900)

    def say(surplus):
        note = {"reason": DELETED, "details": dict(surplus.details)}
        store.append(json.dumps(note)[1:-1].encode())

    assert Retention(folder, keep_bytes).apply(lambda: store.begun, say, store.sync) == ""
    store.close()
    return store.head


@pytest.fixture(
    scope="module", params=[(key, old) for key in (None, KEY) for old in (False, True)], ids=str
)
def journal(request):
    """Files of a journal as (name, bytes), its head and its key; the oldest of some are deleted."""
    key, old = request.param
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        head = write(folder, [f"entry {i}" for i in range(LINES * (1 + old))], key, 900)
        if old:
            head = delete_oldest(folder, key, 4000)
        assert verify(folder, head.hash, key).intact
        assert (verify(folder).deleted > 0) == old
        files = [(path.name, path.read_bytes()) for path in journal_files(folder)]
    assert len(files) > 3
    return files, head.hash, key


def check_found(files, head, key):
    with tempfile.TemporaryDirectory() as name:
        for file, data in files:
            (Path(name) / file).write_bytes(data)
        assert not verify(Path(name), head, key).intact


def lines_of(files):
    """(file, index in it) of every line."""
    return [(f, i) for f, (_, data) in enumerate(files) for i in range(data.count(b"\n"))]


def with_lines(files, chosen, change):
    """The files after `change` of the list of lines in the chosen file."""
    name, data = files[chosen]
    lines = data.splitlines(keepends=True)
    change(lines)
    return [*files[:chosen], (name, b"".join(lines)), *files[chosen + 1 :]]


@given(data=st.data())
def test_a_changed_byte_is_found_even_without_the_head(journal, data):
    files, _, key = journal
    chosen = data.draw(st.integers(0, len(files) - 1))
    name, content = files[chosen]
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != content[at]))
    files = list(files)
    files[chosen] = name, content[:at] + bytes([byte]) + content[at + 1 :]
    check_found(files, "", key)


@given(data=st.data())
def test_a_deleted_line_is_found(journal, data):
    files, head, key = journal
    chosen, index = data.draw(st.sampled_from(lines_of(files)))
    check_found(with_lines(files, chosen, lambda lines: lines.pop(index)), head, key)


@given(data=st.data())
def test_an_inserted_line_is_found(journal, data):
    files, _, key = journal
    chosen, index = data.draw(st.sampled_from(lines_of(files)))
    known = [line for _, content in files for line in content.splitlines(keepends=True)]
    strange = st.binary(max_size=50).map(lambda b: b + b"\n")
    line = data.draw(st.sampled_from(known) | strange)
    check_found(with_lines(files, chosen, lambda lines: lines.insert(index, line)), "", key)


@given(data=st.data())
def test_swapped_lines_are_found(journal, data):
    files, _, key = journal
    places = st.sampled_from(lines_of(files))
    (f, i), (g, j) = data.draw(st.tuples(places, places).filter(lambda pair: pair[0] != pair[1]))
    one = files[f][1].splitlines(keepends=True)[i]
    other = files[g][1].splitlines(keepends=True)[j]
    files = with_lines(files, f, lambda lines: lines.__setitem__(i, other))
    files = with_lines(files, g, lambda lines: lines.__setitem__(j, one))
    check_found(files, "", key)


@given(data=st.data())
def test_a_cut_at_any_byte_is_found_with_the_head(journal, data):
    files, head, key = journal
    chosen = data.draw(st.integers(0, len(files) - 1))
    name, content = files[chosen]
    at = data.draw(st.integers(0, len(content) - 1))
    followers = files[chosen + 1 :] if data.draw(st.booleans()) else []
    check_found([*files[:chosen], (name, content[:at]), *followers], head, key)


@given(data=st.data())
def test_a_missing_file_is_found(journal, data):
    files, head, key = journal
    gone = data.draw(st.integers(0, len(files) - 1))
    check_found([file for i, file in enumerate(files) if i != gone], head, key)


@given(
    runs=st.lists(st.lists(st.text(max_size=40), max_size=6), min_size=1, max_size=4),
    max_bytes=st.integers(300, 3000),
    torn=st.binary(max_size=40),
)
def test_a_chain_goes_on_over_runs_files_and_torn_ends(runs, max_bytes, torn):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = 0
        for texts in runs:
            head = write(folder, texts, None, max_bytes)
            count += len(texts)
            for path in journal_files(folder)[-1:]:
                path.write_bytes(path.read_bytes() + torn)
        assert recover(folder, None).head == head
        assert head.sequence == count
        if count:
            result = verify(folder, head.hash)
            assert result.intact and result.lines == count


@given(
    files=st.integers(3, 8),
    keeps=st.lists(st.integers(300, 9000), min_size=1, max_size=3),
    data=st.data(),
)
def test_what_is_left_after_deletions_is_whole_and_not_a_file_less(files, keeps, data):
    """Deleted again and again, over restarts; then one more file goes by another hand."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        head = write(folder, [f"entry {i}" for i in range(files * 3)], None, 900)
        for keep in keeps:
            head = delete_oldest(folder, None, keep)
            assert verify(folder, head.hash).intact
        head = write(folder, ["the last"], None, 900)
        left = journal_files(folder)
        assert verify(folder, head.hash).intact
        data.draw(st.sampled_from(left)).unlink()
        if len(left) > 1:
            assert not verify(folder, head.hash).intact
