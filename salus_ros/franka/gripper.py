"""The Franka Hand, which takes goals one by one: which goal a stream of widths asks for, and when.

Closing is a grasp (it holds with a force, and any width will do), opening a move. Without commands
there are no goals: it never opens by itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import isfinite

from salus_ros.interfaces import nanoseconds

BINARY = "binary"
WIDTH = "width"
CONTROLS = (BINARY, WIDTH)

# binary: closed where the command falls below this, open where it rises above; else what was wanted
# last. Shares of the range.
CLOSE_BELOW = 0.4
OPEN_ABOVE = 0.6
# width: wanted where it stood still this well [m] for so long [s].
STILL = 0.001
SETTLE_TIME = 0.05
# Commands come in steps no larger than this [m], and no rarer [s]: else a stream begins anew.
JUMP = 0.02
LONGEST_GAP = 0.5
RETRIES = 2
RETRY_DELAY = 1.0  # s


@dataclass(frozen=True, slots=True)
class GripperSettings:
    """closed, open: opening widths [m]; resolution: goals that differ by less are the same [m]."""

    control: str
    closed: float
    open: float
    resolution: float = 0.005


@dataclass(frozen=True, slots=True)
class GripperGoal:
    """Opening width to go to [m]; grasp: with a force, until something is held."""

    width: float
    grasp: bool


class GripperGoals:
    """Turns commanded widths into goals. Times in ns on a steady clock.

    Only a width that is commanded anew is wanted: where the stream begins, or begins again after a
    gap or with a jump (a supervisor starts at the measured width), the hand stays as it is until
    the command has moved.
    """

    def __init__(self, settings: GripperSettings) -> None:
        self._settings = settings
        self._goal: GripperGoal | None = None
        self._recent: deque[tuple[int, float]] = deque()
        self._last: tuple[int, float] | None = None
        self._start: float | None = None
        self._rising = False
        self._failures = 0
        self._failed_at = 0
        self._pending = False

    def command(self, width: float, measured: float, now: int) -> GripperGoal | None:
        """A commanded width [m] and the measured one; a goal to send now, or None."""
        settings = self._settings
        if not isfinite(width):
            return None
        width = min(max(width, settings.closed), settings.open)
        if self._begins(width, now):
            self._start = width
        if self._start is not None:
            if self._same(width, self._start):
                return None
            self._rising = width > self._start
            self._start = None
        wanted = self._wanted(width, now)
        if wanted is None or (self._goal is not None and self._same(wanted, self._goal.width)):
            return self._again(now)
        before = measured if self._goal is None else self._goal.width
        self._goal = GripperGoal(wanted, grasp=wanted < before)
        self._failures, self._pending = 0, False
        return self._goal

    def _begins(self, width: float, now: int) -> bool:
        last, self._last = self._last, (now, width)
        if last is None:
            return True
        if width != last[1]:
            self._rising = width > last[1]
        gap = now - last[0] > nanoseconds(LONGEST_GAP)
        return gap or abs(width - last[1]) > JUMP

    def failed(self, now: int) -> bool:
        """The goal was not reached; whether it is tried again."""
        self._failures += 1
        self._failed_at = now
        self._pending = self._failures <= RETRIES
        return self._pending

    def _again(self, now: int) -> GripperGoal | None:
        if not self._pending or now - self._failed_at < nanoseconds(RETRY_DELAY):
            return None
        self._pending = False
        return self._goal

    def _same(self, width: float, other: float) -> bool:
        return abs(width - other) < self._settings.resolution

    def _wanted(self, width: float, now: int) -> float | None:
        """The width that the commands ask for; None: not clear yet."""
        settings = self._settings
        if settings.control == WIDTH:
            return self._settled(width, now)
        share = (width - settings.closed) / (settings.open - settings.closed)
        if self._rising:
            return settings.open if share > OPEN_ABOVE else None
        return settings.closed if share < CLOSE_BELOW else None

    def _settled(self, width: float, now: int) -> float | None:
        recent = self._recent
        recent.append((now, width))
        if max(w for _, w in recent) - min(w for _, w in recent) > STILL:
            recent.clear()
            recent.append((now, width))
        while len(recent) > 2 and now - recent[1][0] >= nanoseconds(SETTLE_TIME):
            recent.popleft()
        return width if now - recent[0][0] >= nanoseconds(SETTLE_TIME) else None
