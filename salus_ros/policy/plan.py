"""A plan on its time grid, and where each of its rows came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import ActionChunk, FloatArray, seconds

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """Where a row of a plan came from.

    chunk_number: the newest chunk with a share in the row. step: row of that chunk as the policy
    made it (rounded down where it was moved onto the grid). staleness: time from that chunk's
    observation until the row is due, in whole control steps and in seconds.
    """

    chunk_number: int
    step: int
    observation_stamp: int
    staleness_steps: int
    staleness_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Rows first ... last of the grid anchor + index * time_step [ns].

    actions [rows, dims]; numbers [rows] and stamps [rows]: newest chunk with a share in the row,
    and the stamp of its observation.
    """

    anchor: int
    time_step: int
    first: int
    actions: FloatArray
    numbers: IntArray
    stamps: IntArray

    @property
    def last(self) -> int:
        """Index of the last row."""
        return self.first + len(self.actions) - 1

    @property
    def end_time(self) -> int:
        """When the last row is due [ns]."""
        return self.time(self.last)

    def time(self, index: int) -> int:
        """When the row is due [ns]."""
        return self.anchor + index * self.time_step

    def index_at_or_after(self, time: int) -> int:
        """First index of the grid, in the plan or not, that is due at `time` or later."""
        return -((self.anchor - time) // self.time_step)

    def between(self, first: int, last: int) -> Plan:
        """The rows from first to last, both included, that the plan has."""
        rows = slice(max(0, first - self.first), max(0, last + 1 - self.first))
        return Plan(
            self.anchor,
            self.time_step,
            max(first, self.first),
            self.actions[rows],
            self.numbers[rows],
            self.stamps[rows],
        )

    def followed_by(self, after: Plan) -> Plan:
        """These rows, then those of `after` where it begins right behind; otherwise it alone."""
        if len(self.actions) == 0 or self.last + 1 != after.first:
            return after
        return Plan(
            self.anchor,
            self.time_step,
            self.first,
            np.concatenate([self.actions, after.actions]),
            np.concatenate([self.numbers, after.numbers]),
            np.concatenate([self.stamps, after.stamps]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class PlannedChunk:
    """A chunk to publish, with the origin of each row: numbers [rows], stamps [rows] (see Plan)."""

    chunk: ActionChunk
    numbers: IntArray
    stamps: IntArray

    def origin(self, row: int) -> RowOrigin:
        """Where the row came from, and how stale its observation is when the row is due."""
        if not 0 <= row < len(self.numbers):
            raise IndexError(f"row {row} is not in this plan: it has {len(self.numbers)} rows")
        due = self.chunk.start_time + row * self.chunk.time_step
        stamp = int(self.stamps[row])
        steps = (due - stamp) // self.chunk.time_step
        return RowOrigin(int(self.numbers[row]), steps, stamp, steps, seconds(due - stamp))
