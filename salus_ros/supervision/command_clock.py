"""The trajectory clock that commands are stamped with, and how well ticks keep to it."""

from __future__ import annotations

from typing import Final

from salus_ros.interfaces import Instant

# A tick later than this many periods after the one before has missed its deadline.
LATE_PERIODS: Final = 1.5


class CommandClock:
    """One period a command, whenever its tick came.

    stamp: of the last command [ns]; sent, missed: commands, and ticks that missed their deadline.
    """

    def __init__(self, period: int, now: Instant) -> None:
        """period of a tick [ns]."""
        self._period = period
        self._last: int | None = None
        self.stamp = now.ros
        self.sent = 0
        self.missed = 0

    def begin_tick(self, now: Instant) -> bool:
        """Whether this tick missed its deadline."""
        last, self._last = self._last, now.steady
        late = last is not None and now.steady - last > LATE_PERIODS * self._period
        self.missed += late
        return late

    def end_tick(self) -> int:
        """The stamp of this tick's command [ns]."""
        self.stamp += self._period
        self.sent += 1
        return self.stamp
