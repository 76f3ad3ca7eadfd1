"""What published plans look like to who executes them: seams, gaps, ages. Numpy alone.

A row is executed as it stands in the plan that is in force when it is due. Motion itself has
differences from row to row, so a jump is told from motion by comparison: finite differences over
rows of two chunks (a seam) against the same over rows of one chunk, on the same grid. The first
difference is a jump of position, the second one of velocity, the third one of acceleration.

Only rows count that the supervisor follows. While it holds the arm, before an episode's first
motion as after a fault, the plan runs on without the arm, and the policy begins anew from where
the arm is: a leap that nobody executes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import ActionChunk, FloatArray, seconds

ORDERS = {"position": 1, "velocity": 2, "acceleration": 3}
"""Order of the difference that shows a jump, in rad, rad/s and rad/s^2."""
TICK = 10_000_000
"""Time between two looks at the age of what is executed [ns]."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A chunk, and when it came into force [ns]."""

    time: int
    chunk: ActionChunk


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of one plan on the grid: index of row 0, actions [n, dims], and of each row its chunk's
    number and observation stamp."""

    first: int
    actions: FloatArray
    numbers: IntArray
    stamps: IntArray

    def between(self, first: int, last: int) -> Rows:
        """Those from first to last, both included, that are there."""
        low = max(first, self.first)
        rows = slice(low - self.first, max(last + 1 - self.first, 0))
        return Rows(low, self.actions[rows], self.numbers[rows], self.stamps[rows])


class ChunkStream:
    """The chunks of one source, in order of arrival, on the grid of the first."""

    def __init__(
        self,
        arrivals: Sequence[Arrival],
        joints: int,
        end: int | None = None,
        followed: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        """joints: how many of the columns are joints. end: when execution ended [ns].

        followed: spans [ns] in which the plan was followed; None: always. Raises ValueError where
        no chunk arrived, or chunks lie beside each other's grid.
        """
        if not arrivals:
            raise ValueError("no chunk arrived: nothing to look at")
        self.arrivals = list(arrivals)
        self.step = arrivals[0].chunk.time_step
        self._anchor = arrivals[0].chunk.start_time
        self._joints = joints
        self._followed = followed
        last = arrivals[-1]
        self.end = self.end_of(last) if end is None else end
        self._plans: list[Rows] = []
        for arrival in arrivals:
            self._plans.append(self._rows(arrival.chunk))

    def end_of(self, arrival: Arrival) -> int:
        """When the last row of the plan is due [ns]."""
        chunk = arrival.chunk
        return chunk.start_time + (len(chunk.actions) - 1) * chunk.time_step

    def _rows(self, chunk: ActionChunk) -> Rows:
        """A plan's rows; those before its first fresh one are from whom they were before."""
        first, off = divmod(chunk.start_time - self._anchor, self.step)
        if off or chunk.time_step != self.step:
            raise ValueError(f"chunk {chunk.number} lies {off} ns beside the grid of the others")
        actions = np.asarray(chunk.actions, np.float64)[:, : self._joints]
        numbers = np.full(len(actions), chunk.number, np.int64)
        stamps = np.full(len(actions), chunk.observation_stamp, np.int64)
        if self._plans:
            old = self._plans[-1].between(first, first + chunk.first_fresh_step - 1)
            kept = slice(old.first - first, old.first - first + len(old.numbers))
            numbers[kept], stamps[kept] = old.numbers, old.stamps
        return Rows(first, actions, numbers, stamps)

    def _index(self, time: int) -> int:
        """First row of the grid that is due at `time` or later."""
        return -((self._anchor - time) // self.step)

    def _until(self, k: int) -> int:
        """When plan k ceases to be in force."""
        return self.arrivals[k + 1].time if k + 1 < len(self.arrivals) else self.end

    def _is_followed(self, time: int) -> bool:
        spans = self._followed
        return spans is None or any(begin <= time < end for begin, end in spans)

    def dry_seconds(self) -> list[float]:
        """For each chunk that came after the plan had run out: how long after [s]."""
        pairs = zip(self.arrivals, self.arrivals[1:], strict=False)
        gaps = [seconds(after.time - self.end_of(before)) for before, after in pairs]
        return [gap for gap in gaps if gap > 0.0]

    def executed(self) -> tuple[IntArray, Rows]:
        """Grid indices of the rows that were executed, and the rows; a gap is a missing index."""
        parts = [
            plan.between(self._index(arrival.time), self._index(self._until(k)) - 1)
            for k, (arrival, plan) in enumerate(zip(self.arrivals, self._plans, strict=True))
        ]
        indices = np.concatenate([p.first + np.arange(len(p.numbers)) for p in parts])
        rows = Rows(
            int(indices[0]) if len(indices) else 0,
            np.concatenate([p.actions for p in parts]),
            np.concatenate([p.numbers for p in parts]),
            np.concatenate([p.stamps for p in parts]),
        )
        return indices, rows

    def ages(self) -> FloatArray:
        """Age of the observation behind what is executed, at each tick [s]."""
        found = []
        for k, (arrival, plan) in enumerate(zip(self.arrivals, self._plans, strict=True)):
            until = min(self._until(k), self.end_of(arrival))
            ticks = np.arange(arrival.time, until, TICK)
            # Between two rows, the one that is left: its observation is the older one.
            row = np.clip((ticks - self._anchor) // self.step - plan.first, 0, None)
            row = np.minimum(row, len(plan.stamps) - 1)
            found.append((ticks - plan.stamps[row]) * 1e-9)
        return np.concatenate(found)

    def seam_jumps(self) -> dict[str, FloatArray]:
        """Differences of executed rows that are not all of one chunk, largest joint of each."""
        indices, rows = self.executed()
        return {
            name: self._differences(rows.actions, order)[self._seams(indices, rows, order)]
            for name, order in ORDERS.items()
        }

    def _seams(self, indices: IntArray, rows: Rows, order: int) -> NDArray[np.bool_]:
        """Of the windows of order + 1 rows that were followed whole, those that cross a seam."""
        followed = np.array([self._is_followed(self._anchor + i * self.step) for i in indices])
        whole = indices[order:] - indices[:-order] == order
        # Numbers only rise along the grid, so the ends of a window tell.
        across = rows.numbers[order:] != rows.numbers[:-order]
        return np.asarray(whole & across & followed[order:] & followed[:-order])

    def replaced_jumps(self) -> dict[str, FloatArray]:
        """What the plan before held for the rows of `seam_jumps`, all of that plan.

        What would have been executed had no new chunk come: the same moments of the motion, so
        that nothing but the seam is between the two.
        """
        indices, rows = self.executed()
        by_number = {plan.numbers[-1]: plan for plan in self._plans}
        found = {}
        for name, order in ORDERS.items():
            jumps = []
            for k in np.flatnonzero(self._seams(indices, rows, order)):
                plan = by_number[rows.numbers[k]]
                old = plan.between(int(indices[k]), int(indices[k]) + order)
                jumps.append(self._differences(old.actions, order))
            found[name] = np.concatenate([np.empty(0), *jumps])
        return found

    def inner_jumps(self) -> dict[str, FloatArray]:
        """The same within each chunk, for windows that begin in the rows meant to be executed."""
        found: dict[str, list[FloatArray]] = {name: [] for name in ORDERS}
        for arrival, plan in zip(self.arrivals, self._plans, strict=True):
            chunk = arrival.chunk
            if not self._is_followed(arrival.time):
                continue
            fresh = plan.actions[plan.numbers == chunk.number]
            for name, order in ORDERS.items():
                window = fresh[: chunk.execution_horizon + order]
                found[name].append(self._differences(window, order))
        return {name: np.concatenate([np.empty(0), *parts]) for name, parts in found.items()}

    def _differences(self, actions: FloatArray, order: int) -> FloatArray:
        if len(actions) <= order:
            return np.empty(0)
        steps = np.diff(actions, order, axis=0) / seconds(self.step) ** (order - 1)
        return np.asarray(np.abs(steps).max(1))
