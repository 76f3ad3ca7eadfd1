"""The gripper's command: towards the plan's width, at most at its speed."""

from __future__ import annotations

from salus_ros.supervision.limits import GripperLimits


class GripperCommand:
    """Opening width [m] that is commanded; it only ever changes while a plan is followed."""

    def __init__(self, limits: GripperLimits, width: float, period: float) -> None:
        """width: the measured one [m], moved into the range; period of a tick [s]."""
        self._step = limits.speed * period
        self.width = min(max(width, limits.closed), limits.open)

    def follow(self, target: float) -> float:
        """One tick towards a target [m] inside the range; returns what is left [m]."""
        left = target - self.width
        self.width = (
            target
            if abs(left) <= self._step
            else self.width + (self._step if left > 0 else -self._step)
        )
        return abs(target - self.width)
