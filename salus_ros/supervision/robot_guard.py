"""Whether the robot's own side follows commands; where it doesn't: STOP.

A robot stops by itself (a reflex, its own stop button, its mode), and then the commands go nowhere.
While that lasts the command follows the measured arm, so that nothing jumps when the robot follows
again; the STOP stays latched until reset.
"""

from __future__ import annotations

from dataclasses import dataclass

from salus_ros.interfaces import Instant, seconds
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.modes import Cause


@dataclass(frozen=True, slots=True)
class RobotReport:
    """What the robot says of itself: whether it follows commands and, one line, why not.

    released: it surely doesn't follow them, as in a reflex. False where that isn't known: a command
    that followed an arm which follows the command would sink with it.
    """

    ready: bool
    text: str = ""
    released: bool = False


class RobotGuard:
    """The newest report, which counts only while it is fresh."""

    def __init__(self, config: GateConfig) -> None:
        self.config = config
        self._report: RobotReport | None = None
        self._since = 0

    def retune(self, config: GateConfig) -> None:
        """Use other parameters from now on."""
        self.config = config

    def take(self, report: RobotReport, now: Instant) -> None:
        """A report of the robot."""
        self._report, self._since = report, now.steady

    def age(self, now: Instant) -> float:
        """Age of the newest report [s]; -1: there is none."""
        return -1.0 if self._report is None else seconds(now.steady - self._since)

    def released(self, now: Instant) -> bool:
        """Whether it has said, freshly, that it surely doesn't follow commands."""
        report = self._report
        fresh = self.config.require_robot and 0.0 <= self.age(now) <= self.config.robot_age
        return fresh and report is not None and report.released and not report.ready

    def problem(self, now: Instant) -> str:
        """Why the robot doesn't follow commands, in one line; empty: it does, or needn't say so."""
        if not self.config.require_robot:
            return ""
        if self._report is None:
            return "it has never said that it does"
        age = self.age(now)
        if age > self.config.robot_age:
            return f"it was last heard of {age:.3g} s ago"
        return "" if self._report.ready else self._report.text or "it says so"

    def causes(self, now: Instant) -> list[Cause]:
        """One where it doesn't."""
        problem = self.problem(now)
        if not problem:
            return []
        return [Cause("robot_not_ready", problem, self.age(now), self.config.robot_age)]
