"""Which rows of the policy's plans have become due.

A row is executed from the newest plan that had arrived when the row was due. Rows due before their
plan arrived were never executed from it: they belong to the plan before, if to any.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from salus_ros.interfaces import ActionChunk, FloatArray

# Rows kept for a caller that has not asked; the oldest are lost, and counted.
BACKLOG: Final = 1024


class DueStep(NamedTuple):
    """A row that has become due: of which chunk, when, and its action [dims]."""

    source_id: str
    chunk_number: int
    step: int
    execution_time: int
    observation_stamp: int
    action: FloatArray


class StepClock:
    """Turns plans and the present time into executed steps, each once and in order."""

    def __init__(self) -> None:
        self._retired = ""
        # Rows that the backlog could not hold, since the start.
        self.lost = 0
        self.reset()

    def reset(self) -> None:
        """Forget plan and backlog: an episode begins."""
        self._chunk: ActionChunk | None = None
        self._next_row = 0
        self._last_due: int | None = None
        self._backlog: deque[DueStep] = deque()

    def on_chunk(self, chunk: ActionChunk, arrival: int) -> str:
        """Follow this plan from its arrival [ns] on; returns why not, or an empty string.

        Rows of the plan before that are due earlier are kept for `advance`.
        """
        old = self._chunk
        refusal = self._refusal(chunk)
        if refusal:
            return refusal
        self._collect(arrival - 1)
        if old is not None and old.source_id != chunk.source_id:
            self._retired = old.source_id
            self._last_due = None  # Its clock may have been set back.
        earliest = arrival if self._last_due is None else max(arrival, self._last_due + 1)
        self._chunk = chunk
        self._next_row = max(0, -((chunk.start_time - earliest) // chunk.time_step))
        return ""

    def _refusal(self, chunk: ActionChunk) -> str:
        name = f"chunk {chunk.number} of {chunk.source_id!r}"
        if chunk.time_step <= 0 or chunk.actions.ndim != 2:
            return (
                f"{name} has a time step of {chunk.time_step} ns and actions of shape "
                f"{chunk.actions.shape}: > 0 and [rows, dims] are needed"
            )
        if chunk.source_id == self._retired:
            return f"{name} is from a source that was replaced: it is left out"
        current = self._chunk
        if current is None or current.source_id != chunk.source_id:
            return ""
        if chunk.number <= current.number:
            return f"{name} came after chunk {current.number}: it is left out"
        return ""

    def advance(self, now: int) -> list[DueStep]:
        """The rows that have become due by now [ns] and were not handed out yet, in order."""
        self._collect(now)
        due = list(self._backlog)
        self._backlog.clear()
        return due

    def _collect(self, now: int) -> None:
        chunk = self._chunk
        if chunk is None:
            return
        reached = (now - chunk.start_time) // chunk.time_step
        for row in range(self._next_row, min(reached, len(chunk.actions) - 1) + 1):
            self._keep(chunk, row)
            self._next_row = row + 1

    def _keep(self, chunk: ActionChunk, row: int) -> None:
        if len(self._backlog) == BACKLOG:
            self._backlog.popleft()
            self.lost += 1
        self._last_due = chunk.start_time + row * chunk.time_step
        self._backlog.append(
            DueStep(
                chunk.source_id,
                chunk.number,
                row,
                self._last_due,
                chunk.observation_stamp,
                chunk.actions[row].copy(),
            )
        )
