"""Entries of a journal for people: read leniently, filtered, summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from salus_ros.supervision.journal.chain import parse_line
from salus_ros.supervision.journal.verification import find_files, read_lines

_NANOSECONDS = 1_000_000_000

Entry = Mapping[str, Any]


@dataclass(slots=True)
class Entries:
    """Iterates over a journal's entries, oldest first; `unreadable` counts lines that were skipped.

    Whether the entries are as they were written is for `verify` to say.
    """

    path: Path
    unreadable: int = 0

    def __iter__(self) -> Iterator[Entry]:
        self.unreadable = 0
        for file in find_files(self.path):
            for raw in read_lines(file):
                try:
                    yield parse_line(raw).content
                except ValueError:
                    self.unreadable += 1


def matching(
    entries: Iterable[Entry], reason: str = "", since: int = 0, mode: str = ""
) -> Iterator[Entry]:
    """Those of a reason (as the cause or among the causes), since a wall time [ns], of a mode."""
    for entry in entries:
        causes = (entry.get("reason"), *_list(entry.get("reasons")))
        modes = entry.get("mode_before"), entry.get("mode_after")
        wanted = (not reason or reason in causes) and (not mode or mode in modes)
        if wanted and whole(entry.get("wall")) >= since:
            yield entry


@dataclass(slots=True)
class Summary:
    """A journal in figures.

    reasons: entries by reason. worst: by reason, the largest value, and its bound. detectors: the
    largest score of each. modes: seconds spent in each. left_out: records that the journal could
    not take.
    """

    entries: int = 0
    interventions: int = 0
    left_out: int = 0
    sessions: int = 0
    first_wall: int = 0
    last_wall: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    worst: dict[str, tuple[float, float]] = field(default_factory=dict)
    detectors: dict[str, float] = field(default_factory=dict)
    modes: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "entries": self.entries,
            "interventions": self.interventions,
            "left_out": self.left_out,
            "sessions": self.sessions,
            "first_wall": self.first_wall,
            "last_wall": self.last_wall,
            "reasons": dict(self.reasons.most_common()),
            "worst": {
                name: {"value": _plain(value), "bound": _plain(bound)}
                for name, (value, bound) in self.worst.items()
            },
            "detectors": {name: _plain(score) for name, score in self.detectors.items()},
            "mode_seconds": self.modes,
        }


def summarize(entries: Iterable[Entry]) -> Summary:
    """Sum entries up, oldest first."""
    summary = Summary()
    stay: dict[str, tuple[str, int]] = {}  # by session: the mode in force and since when [ns]
    for entry in entries:
        _count(summary, entry)
        _keep_worst(summary, entry)
        _count_time(summary, entry, stay)
    summary.sessions = len(stay)
    return summary


def _count(summary: Summary, entry: Entry) -> None:
    summary.entries += 1
    summary.interventions += "intervention" in entry
    summary.left_out += whole(entry.get("left_out"))
    summary.reasons[str(entry.get("reason"))] += 1
    wall = whole(entry.get("wall"))
    summary.first_wall = summary.first_wall or wall
    summary.last_wall = wall or summary.last_wall


def _keep_worst(summary: Summary, entry: Entry) -> None:
    for name, score in _scores(entry).items():
        summary.detectors[name] = max(score, summary.detectors.get(name, score))
    bound = real(entry.get("bound"))
    values = [v for v in (real(entry.get("value")), real(entry.get("worst"))) if v is not None]
    if bound is None or not values:
        return
    reason = str(entry.get("reason"))
    value = max(values, key=abs)
    if reason not in summary.worst or abs(value) > abs(summary.worst[reason][0]):
        summary.worst[reason] = value, bound


def _count_time(summary: Summary, entry: Entry, stay: dict[str, tuple[str, int]]) -> None:
    """Time since this session's entry before is time in the mode that that one led to."""
    session, now = str(entry.get("session")), whole(entry.get("steady"))
    mode, since = stay.get(session, ("", now))
    if mode and mode != "INACTIVE":
        seconds = max(0, now - since) / _NANOSECONDS
        summary.modes[mode] = summary.modes.get(mode, 0.0) + seconds
    stay[session] = str(entry.get("mode_after") or mode), now


def _plain(value: float) -> float | str:
    """As the journal itself has it: JSON has no infinity."""
    return value if isfinite(value) else str(value)


def _scores(entry: Entry) -> dict[str, float]:
    scores = entry.get("detectors")
    pairs = scores.items() if isinstance(scores, Mapping) else ()
    return {str(name): score for name, value in pairs if (score := real(value)) is not None}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def whole(value: object) -> int:
    """A whole number of an entry; 0 where it is none."""
    return value if isinstance(value, int) else 0


def real(value: object) -> float | None:
    """A number of an entry, "inf" included; None where it is none."""
    try:
        number = float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None
    return None if number is None or isnan(number) else number
