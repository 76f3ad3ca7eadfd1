"""Is a journal whole? Every line is read; every doubt is one problem, with file and line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from salus_ros.supervision.journal.chain import (
    START,
    Head,
    Line,
    head_of,
    parse_line,
    seal_problem,
)
from salus_ros.supervision.journal.errors import JournalError, one_line
from salus_ros.supervision.journal.files import first_sequence, journal_files
from salus_ros.supervision.journal.retention import anchor


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; number: the line in the file from 1, 0: the file as a whole."""

    file: str
    number: int
    what: str

    def __str__(self) -> str:
        where = f"{self.file}, line {self.number}" if self.number else self.file
        return f"{where}: {self.what}"


@dataclass(slots=True)
class Verification:
    """What was found. keyed: the lines have HMACs (checked only where a key was given).

    deleted: lines before the first one, which the journal itself says that it deleted.
    """

    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    lines: int = 0
    head: Head = START
    keyed: bool = False
    deleted: int = 0

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(path: Path, head: str = "", key: bytes | None = None) -> Verification:
    """Check a journal's folder, or one of its files alone (whose first line then is trusted).

    head: a hash that is known to have been the newest once, such as the published one; the chain
    must contain it, else its tail was cut or it was made anew. key: see `load_key`. Raises
    JournalError where there is no journal at all.
    """
    files = find_files(path)
    check = _Check(key, head, START if path.is_dir() else None)
    for file in files:
        check.file(file)
    check.end(files[-1])
    return check.result


def find_files(path: Path) -> list[Path]:
    """The journal's files at a path, oldest first; raises JournalError where there are none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise JournalError(f"{path} is neither a folder nor a file: give a journal's folder")
    files = journal_files(path)
    if not files:
        raise JournalError(f"{path} holds no journal: there is no journal-*.jsonl in it")
    return files


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their newlines; raises JournalError where it can't be read."""
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise JournalError(one_line(path, error)) from error


class _Check:
    """Walks over the lines; the next one has to follow `_last`, where that is known."""

    def __init__(self, key: bytes | None, head: str, start: Head | None) -> None:
        self.result = Verification()
        self._key = key
        self._wanted = head
        self._last = start
        self._doubtful = 0  # lines since `_last` that can't be relied on
        self._keyed: bool | None = None
        self._cut: tuple[Head, int, Problem] | None = None  # what the first line follows

    def file(self, path: Path) -> None:
        """One file, after those before it."""
        self.result.files += 1
        number = 0
        for number, raw in enumerate(read_lines(path), 1):
            self.result.lines += 1
            for what in self._line(path, number, raw):
                self.result.problems.append(Problem(path.name, number, what))
        if number == 0:
            self.result.problems.append(Problem(path.name, 0, "empty"))

    def end(self, last_file: Path) -> None:
        """After the last file."""
        if self._cut is not None:
            _, index, problem = self._cut
            self.result.problems.insert(index, problem)
        if self._wanted:
            what = f"the head {self._wanted} is nowhere in the chain: it was cut, or made anew"
            if self.result.deleted:
                what += f", or is one of the {self.result.deleted} lines that were deleted"
            self.result.problems.append(Problem(last_file.name, 0, what))

    def _line(self, path: Path, number: int, raw: bytes) -> Iterator[str]:
        try:
            line = parse_line(raw)
        except ValueError as error:
            self._doubtful += 1
            yield str(error)
            return
        changed = seal_problem(line, self._key)
        if changed:
            self._doubtful += 1
            yield changed
            return
        if self._last is START and line.sequence > 1 and not self._doubtful:
            self._begin_later(path, number, line)
        else:
            yield from self._place(line)
        if number == 1 and first_sequence(path) != line.sequence:
            yield f"begins with number {line.sequence}, which the file's name doesn't say"
        if self._keyed not in (None, line.keyed):
            yield "sealed in another way than the line before it"
        self._accept(line, raw)

    def _accept(self, line: Line, raw: bytes) -> None:
        self._keyed = self.result.keyed = line.keyed
        self._last = self.result.head = head_of(line.sequence, raw)
        self._doubtful = 0
        if self._last.hash == self._wanted:
            self._wanted = ""
        if self._cut is not None and anchor(line.content) == self._cut[0]:
            self.result.deleted = self._cut[0].sequence
            self._cut = None

    def _begin_later(self, path: Path, number: int, line: Line) -> None:
        """The chain doesn't begin with its first line: a later one must say that this is right."""
        follows = Head(line.sequence - 1, line.previous)
        what = f"numbers 1 to {follows.sequence} are missing before it"
        problem = Problem(path.name, number, what)
        self._cut = follows, len(self.result.problems), problem

    def _place(self, line: Line) -> Iterator[str]:
        """Does it follow the line before it? Doubtful ones between may have been inserted."""
        if self._last is None:
            return
        due = self._last.sequence + 1
        follows = line.previous == self._last.hash
        if line.sequence == due and follows:
            return
        due += self._doubtful
        if line.sequence > due:
            yield f"numbers {due} to {line.sequence - 1} are missing before it"
        elif line.sequence < due:
            yield f"number {line.sequence} stands where {due} is due: inserted or reordered"
        elif not self._doubtful:
            yield "doesn't follow the line before it: one of the two was changed"
