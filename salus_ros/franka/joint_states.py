"""The arm's joint states with the hand's opening width, as one; and how often they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from salus_ros.interfaces import nanoseconds


def opening_width(finger_positions: Sequence[float]) -> float:
    """Opening width [m] from both fingers' positions. Raises ValueError."""
    if len(finger_positions) != 2 or not all(isfinite(q) for q in finger_positions):
        raise ValueError(
            f"the gripper's joint state has positions {list(finger_positions)}: expected two "
            "fingers' [m]"
        )
    return float(sum(finger_positions))


class Thinned:
    """Lets messages through at no more than a rate, without a beat against their own."""

    def __init__(self, rate: float) -> None:
        """rate [Hz]."""
        self._period = nanoseconds(1.0 / rate)
        self._due = 0

    def take(self, now: int) -> bool:
        """Whether a message that comes now [ns, steady clock] is wanted."""
        # A quarter of the period early counts: 1000 Hz thinned to 200 comes every 5 ms, not 6.
        early = self._period // 4
        if now < self._due - early:
            return False
        self._due = max(self._due + self._period, now + self._period - early)
        return True
