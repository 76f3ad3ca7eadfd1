"""What a node says about itself on /diagnostics, and the hysteresis that keeps it readable."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

MEMORY = 3.0
"""For so long [s] a level is shown at least: what flaps reads as its worse state."""


class Level(IntEnum):
    """In order of severity; the numbers are those of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One status: of what, how bad, in one line; values by name."""

    name: str
    level: Level
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


class Memory:
    """The worst diagnosis of the last MEMORY seconds, the newest of those that are equally bad.

    A level so rises at once and falls when nothing has been worse for that time.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, Diagnosis]] = deque()

    def add(self, diagnosis: Diagnosis, now: float) -> Diagnosis:
        """Take a diagnosis made now, on a steady clock [s]; returns the one to be shown."""
        self._recent.append((now, diagnosis))
        while now - self._recent[0][0] > MEMORY:
            self._recent.popleft()
        return max((one for _, one in reversed(self._recent)), key=lambda one: one.level)
