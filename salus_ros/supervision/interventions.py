"""What the gate did and why: one record per act, in a queue that never grows without end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from math import nan

from salus_ros.interfaces import Instant
from salus_ros.supervision.modes import Mode


class Kind(IntEnum):
    """Kinds of records; the numbers are those of Intervention.KIND_*."""

    EVENT = 0
    BEGIN = 1
    END = 2


@dataclass(frozen=True, slots=True)
class Intervention:
    """One act, field by field as in msg/Intervention.msg; stamp: when, on both clocks."""

    stamp: Instant
    sequence: int
    mode_before: Mode
    mode_after: Mode
    kind: Kind
    reason: str
    message: str
    source_id: str = ""
    chunk_number: int = 0
    value: float = nan
    bound: float = nan
    count: int = 0
    worst_value: float = nan


class InterventionQueue:
    """Records until they are drained, numbered without gaps, at most `size` of them.

    What doesn't fit is counted, and the next record that fits is preceded by one that says how
    many were left out.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._records: deque[Intervention] = deque()
        self._left_out = 0
        self.recorded = 0
        self.left_out_total = 0

    def record(
        self,
        stamp: Instant,
        before: Mode,
        after: Mode,
        kind: Kind,
        reason: str,
        message: str,
        *,
        source_id: str = "",
        chunk_number: int = 0,
        value: float = nan,
        bound: float = nan,
        count: int = 0,
        worst_value: float = nan,
    ) -> None:
        """Append a record, or count it where the queue is full."""
        # One place is kept for the record of what was left out.
        if len(self._records) >= self._size - 1:
            self._left_out += 1
            self.left_out_total += 1
            return
        if self._left_out:
            self._append_left_out(stamp, after)
        self.recorded += 1
        self._records.append(
            Intervention(
                stamp,
                self.recorded,
                before,
                after,
                kind,
                reason,
                message,
                source_id,
                chunk_number,
                value,
                bound,
                count,
                worst_value,
            )
        )

    @property
    def waiting(self) -> bool:
        """Whether there is any record to be drained."""
        return bool(self._records)

    def drain(self) -> list[Intervention]:
        """All records so far, oldest first; the queue is empty afterwards."""
        records = list(self._records)
        self._records.clear()
        return records

    def _append_left_out(self, stamp: Instant, mode: Mode) -> None:
        self.recorded += 1
        text = f"{self._left_out} interventions were left out: drain them more often"
        self._records.append(
            Intervention(
                stamp,
                self.recorded,
                mode,
                mode,
                Kind.EVENT,
                "interventions_left_out",
                text,
                count=self._left_out,
            )
        )
        self._left_out = 0


class LastingCondition:
    """A condition with hysteresis: begins above a bound, ends below half of it for a while."""

    def __init__(self, bound: float, clear_ticks: int) -> None:
        self.bound = bound
        self._clear_ticks = clear_ticks
        self._calm = 0
        self.active = False
        self.count = 0
        self.worst = 0.0

    def update(self, value: float) -> Kind | None:
        """BEGIN or END where the condition begins or ends with this tick's value."""
        if not self.active:
            if value <= self.bound:
                return None
            self.active, self.count, self.worst, self._calm = True, 1, value, 0
            return Kind.BEGIN
        self.count += 1
        self.worst = max(self.worst, value)
        self._calm = self._calm + 1 if value < self.bound / 2 else 0
        if self._calm <= self._clear_ticks:
            return None
        self.active = False
        return Kind.END

    def end(self) -> Kind | None:
        """END where it was active (the plan is no longer followed)."""
        was, self.active = self.active, False
        return Kind.END if was else None
