"""Check 3: ages, stamps and the order of chunks; and the two clocks that they are judged on."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from salus_ros.interfaces import ActionChunk, Instant, nanoseconds, seconds
from salus_ros.supervision.chunk_checks import Rejection
from salus_ros.supervision.config import GateConfig

# Sources whose last chunk is remembered: a source that comes back must not repeat itself.
SOURCES_REMEMBERED: Final = 8


class ClockWatch:
    """Notices a jump of the ROS clock against the steady one.

    Slow drift (a clock being disciplined, a simulation slower than real time) is no jump. After a
    jump all remembered ROS stamps are moved with the clock: so what is being followed goes on
    without a step, what was stamped before the jump looks stale or from the future and is
    dropped, and what is stamped after it is accepted at once.
    """

    def __init__(self, bound: float) -> None:
        self._bound = nanoseconds(bound)
        self._offset: int | None = None

    def jump(self, now: Instant) -> int:
        """By how much the ROS clock has jumped since the last call [ns]; 0: it hasn't."""
        offset = now.ros - now.steady
        before, self._offset = self._offset, offset
        if before is None or abs(offset - before) <= self._bound:
            return 0
        return offset - before


class Aged:
    """When something arrived and how old it was by its stamp, so that its age can be told later."""

    __slots__ = ("_age_at_arrival", "_arrival", "_stamp")

    def __init__(self, stamp: int, now: Instant) -> None:
        self._stamp = stamp
        self._arrival = now.steady
        self._age_at_arrival = max(0, now.ros - stamp)

    def seconds(self, now: Instant) -> float:
        """Age [s]: the larger of the one by its stamp and the one by the steady clock."""
        steady = now.steady - self._arrival + self._age_at_arrival
        return seconds(max(now.ros - self._stamp, steady))

    def shift(self, jump: int) -> None:
        """Follow a jump of the ROS clock [ns]."""
        self._stamp += jump


@dataclass(slots=True)
class _Last:
    number: int
    observation_stamp: int


class ChunkOrder:
    """Numbers and observation stamps rise within one source id; a new id waits for a stand."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._current = ""
        self._last: OrderedDict[str, _Last] = OrderedDict()

    def retune(self, config: GateConfig) -> None:
        """Use other parameters from now on."""
        self._config = config

    def shift(self, jump: int) -> None:
        """Follow a jump of the ROS clock [ns]."""
        for last in self._last.values():
            last.observation_stamp += jump

    def check(self, chunk: ActionChunk, now: Instant, standing: bool) -> Rejection | None:
        """standing: the arm is at rest or in HOLD or worse, so a new source may begin."""
        return self._check_order(chunk, standing) or self._check_age(chunk, now)

    def accept(self, chunk: ActionChunk) -> None:
        """Remember a chunk that passed."""
        self._current = chunk.source_id
        self._last[chunk.source_id] = _Last(chunk.number, chunk.observation_stamp)
        self._last.move_to_end(chunk.source_id)
        while len(self._last) > SOURCES_REMEMBERED:
            self._last.popitem(last=False)

    def _check_order(self, chunk: ActionChunk, standing: bool) -> Rejection | None:
        if chunk.source_id != self._current and not standing:
            text = f"new source '{chunk.source_id}' while the arm follows '{self._current}'"
            return Rejection("chunk_new_source", text, hard=False)
        last = self._last.get(chunk.source_id)
        if last is None:
            return None
        if chunk.number <= last.number:
            text = f"number {chunk.number} after {last.number}"
            value, bound = float(chunk.number), float(last.number)
            return Rejection("chunk_out_of_order", text, False, value, bound)
        if chunk.observation_stamp <= last.observation_stamp:
            behind = seconds(last.observation_stamp - chunk.observation_stamp)
            text = f"its observation is {behind:.3g} s older than the one before"
            return Rejection("chunk_out_of_order", text, False, -behind, 0.0)
        return None

    def _check_age(self, chunk: ActionChunk, now: Instant) -> Rejection | None:
        config = self._config
        age = seconds(now.ros - chunk.observation_stamp)
        if age > config.observation_age:
            text = f"its observation is {age:.3g} s old"
            return Rejection("chunk_stale", text, False, age, config.observation_age)
        if -age > config.future_stamp:
            text = f"its observation is {-age:.3g} s in the future"
            return Rejection("chunk_future", text, False, -age, config.future_stamp)
        ahead = seconds(chunk.start_time - now.ros)
        if ahead > config.start_ahead:
            text = f"it starts {ahead:.3g} s in the future"
            return Rejection("chunk_future", text, False, ahead, config.start_ahead)
        rows = max(len(chunk.actions) - 1, 1)
        over = seconds(now.ros - chunk.start_time - rows * chunk.time_step)
        if over >= 0:
            text = f"its last row was due {over:.3g} s ago"
            return Rejection("chunk_stale", text, False, over, 0.0)
        return None
