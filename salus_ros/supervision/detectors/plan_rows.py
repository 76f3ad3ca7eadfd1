"""Which rows of overlapping plans are scored: each due time once, from the plan then in force.

A plan overlaps the one before it, and most of its rows are replaced before they are due. What is
scored is what is executed. Calibration picks its rows by the same rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import NANOSECONDS, FloatArray
from salus_ros.supervision.detectors.errors import DetectorError

# A due time this much of a step after the last one is another row; grids of plans may shift.
SAME_ROW = 0.5
# Beyond so many steps, rows are missing between.
GAP = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class TimedPlan:
    """actions [rows, dims], row k due at start + k * step [ns]; stuck: see Block.

    off_plan: the arm was away from the plan before when the policy saw it, so that this one begins
    elsewhere; the way there is no step of the policy's, and the two plans need not agree.
    """

    actions: FloatArray
    start: int
    step: int
    stuck: bool = False
    off_plan: bool = False

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or not len(self.actions):
            raise DetectorError(f"actions of shape {self.actions.shape}: rows are expected")
        if self.step <= 0:
            raise DetectorError(f"time step is {self.step} ns: it must be above 0")

    @property
    def rate(self) -> float:
        """Rows a second."""
        return NANOSECONDS / self.step

    def due(self, row: int) -> int:
        """When a row is due [ns]."""
        return self.start + row * self.step


@dataclass(frozen=True, slots=True, eq=False)
class DueRows:
    """Rows first ... last of a plan; follows: the row before them was the last that was picked.

    begins: they are the plan's first to come into force. revision [dims]: see `disagreement`, of
    that plan and the one before; 0 where there is nothing to compare.
    """

    plan: TimedPlan
    first: int
    last: int
    follows: bool
    begins: bool
    revision: FloatArray

    @property
    def actions(self) -> FloatArray:
        """The rows [n, dims]."""
        return self.plan.actions[self.first : self.last + 1]

    @property
    def stuck(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether the observation was the one before [n]."""
        return np.full(self.last - self.first + 1, self.plan.stuck)


# A plan, and the first and last of its rows.
Span = tuple[TimedPlan, int, int]


class PlanRows:
    """Picks the rows of successive plans."""

    def __init__(self) -> None:
        self._plan: TimedPlan | None = None
        self._last: int | None = None
        # The plan that the last picked row is of, and the first row behind it.
        self._in_force: TimedPlan | None = None
        self._next_row = 0

    def take(self, plan: TimedPlan) -> None:
        """Follow this plan from now on."""
        self._plan = plan

    def restart(self) -> None:
        """Treat the next row as the first of an episode."""
        self._last = None

    def span(self, until: int, since: int | None = None) -> Span | None:
        """Which rows are due up to `until` [ns] that weren't picked yet; None: none are.

        since [ns]: where to begin after a restart; None: with the row in force at `until`.
        """
        plan = self._plan
        if plan is None:
            return None
        first = self._first(plan, until if since is None else since)
        last = min((until - plan.start) // plan.step, len(plan.actions) - 1)
        return None if last < first else (plan, first, last)

    def span_ahead(self, until: int) -> Span | None:
        """The same; where no row is due yet, the row that comes next."""
        due, plan = self.span(until), self._plan
        if due is not None or plan is None:
            return due
        return self.span(plan.due(self._first(plan, until)))

    def rows(self, span: Span) -> DueRows:
        """Those rows; nothing is picked yet."""
        plan, first, last = span
        before = self._last
        follows = before is not None and plan.due(first) - before <= GAP * plan.step
        begins = plan is not self._in_force
        revision = self._revision(plan, first) if begins and follows else no_revision(plan)
        return DueRows(plan, first, last, follows, begins, revision)

    def pick(self, rows: DueRows) -> None:
        """They are in force, or were."""
        self._last = rows.plan.due(rows.last)
        self._in_force, self._next_row = rows.plan, rows.last + 1

    def _revision(self, plan: TimedPlan, first: int) -> FloatArray:
        old = self._in_force
        if old is None or plan.off_plan or old.step != plan.step:
            return no_revision(plan)
        return disagreement(old.actions[self._next_row :], plan.actions[first:])

    def _first(self, plan: TimedPlan, begin: int) -> int:
        if self._last is None:
            return max(0, (begin - plan.start) // plan.step)
        beyond = self._last + int(SAME_ROW * plan.step) - plan.start
        return max(0, beyond // plan.step + 1)


def disagreement(old: FloatArray, new: FloatArray) -> FloatArray:
    """Root mean square [dims] of new minus old over the rows that both plans have.

    old, new [rows, dims]: from the first row on that the new plan takes over.
    """
    rows = min(len(old), len(new))
    if rows == 0 or old.shape[1] != new.shape[1]:
        return np.zeros(new.shape[1])
    return np.asarray(np.sqrt(np.mean((new[:rows] - old[:rows]) ** 2, axis=0)))


def no_revision(plan: TimedPlan) -> FloatArray:
    """What `disagreement` is where there is nothing to compare [dims]."""
    return np.zeros(plan.actions.shape[1])
