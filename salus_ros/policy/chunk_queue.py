"""The plan being executed, and how new chunks are merged into it. Not thread-safe: see loop.py.

The first chunk anchors a grid of row times; every later chunk is moved onto it (resampling.py)
and aligned by index: rows that became due while it was computed are dropped. The published plan
begins a few rows before the present, so that who interpolates it has the curve's past.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import ActionChunk, FloatArray, seconds
from salus_ros.policy.backend import Guidance, PolicyError, Prediction
from salus_ros.policy.merging import (
    FADE_ROWS,
    MERGING_MODES,
    RTC_SCHEDULES,
    blend,
    fade_weights,
    fixed_weights,
    presence,
    rtc_weights,
    temporal_ensemble,
)
from salus_ros.policy.plan import Plan, PlannedChunk
from salus_ros.policy.resampling import lagrange_weights, shift_rows

# A temporal ensemble averages at most this many chunks; more change a row by less than 2 %.
ENSEMBLE_SIZE = 64

# Rows of the plan's past that are kept: an observation may be so much older than the plan's start.
PAST_ROWS = 64

# Of an ensemble: index of row 0, actions, presence (see merging.py).
Member = tuple[int, FloatArray, FloatArray]

# No joint target [rad] or width [m] is larger; interpolating such numbers could overflow.
LARGEST_ACTION = 1e6


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """How plans are made.

    joint_names, gripper_name ("" where there is none): the columns of the actions.
    execution_horizon: rows meant to be executed before the next chunk comes. merging: see
    merging.py. history_rows: rows before the present in each plan. rtc_schedule: soft mask that a
    policy's sampler is guided with in `rtc`. ensemble_coefficient: decay of `temporal_ensemble`
    from the oldest chunk on; 0 is the mean, a negative one prefers new chunks.
    """

    joint_names: tuple[str, ...]
    gripper_name: str = ""
    execution_horizon: int = 25
    merging: str = "latest"
    history_rows: int = 2
    rtc_schedule: str = "exp"
    ensemble_coefficient: float = 0.01

    def __post_init__(self) -> None:
        _require(self.merging in MERGING_MODES, "merging", self.merging, f"one of {MERGING_MODES}")
        _require(
            self.rtc_schedule in RTC_SCHEDULES,
            "rtc_schedule",
            self.rtc_schedule,
            f"one of {RTC_SCHEDULES}",
        )
        _require(self.execution_horizon >= 1, "execution_horizon", self.execution_horizon, ">= 1")
        _require(self.history_rows >= 0, "history_rows", self.history_rows, ">= 0")
        _require(
            abs(self.ensemble_coefficient) <= 10.0,
            "ensemble_coefficient",
            self.ensemble_coefficient,
            "-10 to 10",
        )
        _require(len(self.joint_names) > 0, "joint_names", self.joint_names, "at least one")

    @property
    def dims(self) -> int:
        """Columns of an action."""
        return len(self.joint_names) + bool(self.gripper_name)


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value!r}: allowed is {allowed}")


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """An inference under way: begun for the observation of `stamp`, part of one plan's life.

    rows due before `frozen_until` keep the plan in mode `rtc`. blends: the result is merged with
    the plan; otherwise it takes its place. guidance: where there is a plan that is blended with.
    """

    stamp: int
    generation: int
    frozen_until: int
    blends: bool
    guidance: Guidance | None


class ChunkQueue:
    """Merges predictions into one plan. All times are integer nanoseconds of one clock."""

    def __init__(self, config: QueueConfig) -> None:
        self.config = config
        self._source_id = ""
        self._number = 0
        self._generation = 0
        self._plan: Plan | None = None
        self._horizon_end = 0
        self._chunk_rows = 0
        self._chunks: deque[Member] = deque(maxlen=ENSEMBLE_SIZE)

    def activate(self, source_id: str) -> None:
        """Begin a new source: numbers start at 1, the plan and inferences under way are void."""
        if not source_id:
            raise ValueError("source_id is empty: give each activation an id of its own")
        self.clear()
        self._source_id = source_id
        self._number = 0

    def clear(self) -> None:
        """Forget the plan; inferences under way are void. Numbers go on."""
        self._generation += 1
        self._plan = None
        self._chunks.clear()

    @property
    def plan(self) -> Plan | None:
        """The plan being executed. Its arrays are replaced, never changed."""
        return self._plan

    @property
    def generation(self) -> int:
        """Changes whenever inferences under way become void."""
        return self._generation

    @property
    def source_id(self) -> str:
        """The source that chunks are published under."""
        return self._source_id

    @property
    def horizon_end(self) -> int:
        """When the rows of the execution horizon will have been executed [ns]."""
        return self._horizon_end

    def begin(self, stamp: int, now: int, latency: int, blends: bool = True) -> Inference:
        """Note that an inference starts.

        stamp: of its observation. latency: how long it will take, as estimated [ns]. blends: false
        where the old plan has lost its meaning, as with a new instruction; it is then followed
        until the new chunk comes, and not merged with it.
        """
        keeps = self.config.merging == "rtc" and blends and self._plan is not None
        tells = self.config.merging != "latest" and blends
        return Inference(
            stamp=stamp,
            generation=self._generation,
            frozen_until=now + latency if keeps else now,
            blends=blends,
            guidance=self._guidance(stamp, now + latency) if tells else None,
        )

    def _guidance(self, stamp: int, frozen_until: int) -> Guidance | None:
        """The plan at stamp, stamp + time_step, ..., as far as it reaches."""
        plan = self._plan
        if plan is None or stamp > plan.end_time:
            return None
        # Before the rows that are left of the plan's past, the first one stands.
        count = (plan.end_time - stamp) // plan.time_step + 1
        at = (stamp - plan.time(plan.first)) / plan.time_step + np.arange(count)
        frozen = min(count, max(0, -((stamp - frozen_until) // plan.time_step)))
        prefix = _sample(plan.actions, np.maximum(at, 0.0), bool(self.config.gripper_name))
        if self.config.merging != "rtc":
            return Guidance(prefix, np.zeros(count), 0)
        end = self._chunk_rows - self.config.execution_horizon
        weights = rtc_weights(self.config.rtc_schedule, frozen, end, count)
        return Guidance(prefix, weights, frozen)

    def merge(self, inference: Inference, prediction: Prediction, now: int) -> PlannedChunk | None:
        """Merge what an inference brought; the result is the plan from now on.

        None where the plan that it was begun for is gone (activate, clear). Raises PolicyError,
        leaving the plan as it was, where the prediction can't be executed.
        """
        if inference.generation != self._generation:
            return None
        self._check(prediction)
        plan = self._plan
        if plan is not None and plan.time_step != prediction.time_step:
            plan = None  # Another grid: rows of the two can't be merged.
        fresh = self._on_grid(inference.stamp, prediction, plan)
        current = fresh.index_at_or_after(now)
        if fresh.last < current:
            raise PolicyError(_all_passed(fresh, inference.stamp, now))
        merged = self._merged(plan, fresh, current, inference, prediction.continues)
        if not np.any(merged.numbers == self._number + 1):
            raise PolicyError(
                f"all {len(prediction.actions)} rows of the chunk lie in the frozen part of the "
                "plan: use longer chunks, a faster policy or another rtc_schedule"
            )
        entry = max(current, fresh.first)
        if plan is None or not inference.blends or not prediction.continues:
            self._chunks.clear()
            entry = fresh.first - FADE_ROWS  # Nothing to fade in from: the next one fades into it.
        self._chunks.append(_member(fresh, entry))
        self._chunk_rows = len(prediction.actions)
        return self._accept(merged, current, inference.stamp)

    def _check(self, prediction: Prediction) -> None:
        shape = prediction.actions.shape
        if len(shape) != 2 or shape[1] != self.config.dims:
            raise PolicyError(
                f"the policy's actions have the shape {shape}: [rows, {self.config.dims}] is "
                f"needed for {len(self.config.joint_names)} joints"
                f"{' and the gripper' if self.config.gripper_name else ''}"
            )
        if shape[0] < 2:
            raise PolicyError(f"the policy's chunk has {shape[0]} row(s): a plan needs at least 2")
        if prediction.time_step <= 0:
            raise PolicyError(
                f"the policy's time_step is {prediction.time_step} ns: it must be > 0"
            )
        bad = int(np.count_nonzero(~(np.abs(prediction.actions) <= LARGEST_ACTION)))
        if bad:
            raise PolicyError(
                f"{bad} of the policy's {prediction.actions.size} actions are not finite "
                f"or beyond {LARGEST_ACTION:g}: look at its normalisation"
            )

    def _on_grid(self, stamp: int, prediction: Prediction, plan: Plan | None) -> Plan:
        """The prediction as rows of the plan's grid, or of one that it anchors."""
        anchor = stamp if plan is None else plan.anchor
        step = prediction.time_step
        first = -((anchor - stamp) // step)
        fraction = (anchor + first * step - stamp) / step
        gripper = 1 if self.config.gripper_name else 0
        actions = shift_rows(np.asarray(prediction.actions, np.float64), fraction, gripper)
        rows = len(actions)
        numbers = np.full(rows, self._number + 1, np.int64)
        return Plan(anchor, step, first, actions, numbers, np.full(rows, stamp, np.int64))

    def _merged(
        self, plan: Plan | None, fresh: Plan, current: int, inference: Inference, continues: bool
    ) -> Plan:
        """Rows already due as they were, the rest merged; without a gap, the newest part if any.

        A chunk that doesn't continue the plan brings its own past: the plan's would be a leap away.
        """
        boundary = max(current, fresh.first)
        start = current - max(PAST_ROWS, self.config.history_rows)
        ahead = fresh.between(boundary, fresh.last)
        if plan is None or not continues:
            return fresh.between(start, boundary - 1).followed_by(ahead)
        past = plan.between(start, boundary - 1)
        gap = fresh.between(max(start, plan.last + 1), boundary - 1)
        if inference.blends:
            ahead = self._blended(plan, ahead, inference.frozen_until)
        return past.followed_by(gap.followed_by(ahead))

    def _blended(self, plan: Plan, ahead: Plan, frozen_until: int) -> Plan:
        if self.config.merging == "temporal_ensemble":
            return self._ensemble(ahead)
        old = plan.between(ahead.first, ahead.last)
        overlap = len(old.actions)
        frozen = ahead.index_at_or_after(frozen_until) - ahead.first
        weights = self._old_weights(ahead, overlap, frozen)
        actions = ahead.actions.copy()
        actions[:overlap] = blend(old.actions, ahead.actions[:overlap], weights)
        numbers, stamps = ahead.numbers.copy(), ahead.stamps.copy()
        kept = np.flatnonzero(weights == 1.0)
        actions[kept] = old.actions[kept]  # Exactly the old row, free of rounding.
        numbers[kept], stamps[kept] = old.numbers[kept], old.stamps[kept]
        return Plan(ahead.anchor, ahead.time_step, ahead.first, actions, numbers, stamps)

    def _old_weights(self, ahead: Plan, overlap: int, frozen: int) -> FloatArray:
        if self.config.merging != "rtc":
            return fixed_weights(self.config.merging, overlap)
        # The last rows, as many as will be executed, are the new chunk's own.
        end = len(ahead.actions) - self.config.execution_horizon
        return fade_weights(frozen, end, overlap)

    def _ensemble(self, ahead: Plan) -> Plan:
        chunks = [*self._chunks, _member(ahead, ahead.first)]
        coefficient = self.config.ensemble_coefficient
        actions = temporal_ensemble(chunks, ahead.first, ahead.last, coefficient)
        return Plan(
            ahead.anchor, ahead.time_step, ahead.first, actions, ahead.numbers, ahead.stamps
        )

    def _accept(self, merged: Plan, current: int, stamp: int) -> PlannedChunk:
        self._plan = merged
        self._number += 1
        horizon = min(self.config.execution_horizon, merged.last - current + 1)
        self._horizon_end = merged.time(current + horizon)
        published = merged.between(current - self.config.history_rows, merged.last)
        chunk = ActionChunk(
            source_id=self._source_id,
            number=self._number,
            joint_names=self.config.joint_names,
            gripper_name=self.config.gripper_name,
            start_time=published.time(published.first),
            time_step=published.time_step,
            actions=published.actions.copy(),
            first_fresh_step=int(np.argmax(published.numbers == self._number)),
            execution_horizon=horizon,
            observation_stamp=stamp,
        )
        return PlannedChunk(chunk, published.numbers.copy(), published.stamps.copy())


def _member(chunk: Plan, entry: int) -> Member:
    """A chunk of an ensemble, in force from row `entry` on."""
    return chunk.first, chunk.actions, presence(len(chunk.actions), entry - chunk.first)


def _all_passed(fresh: Plan, stamp: int, now: int) -> str:
    span = seconds(fresh.end_time - stamp)
    age = seconds(now - stamp)
    return (
        f"the chunk ends {span:.3f} s after its observation, which is {age:.3f} s old already: "
        "use longer chunks, a faster policy or fresher images"
    )


def _sample(actions: FloatArray, at: FloatArray, gripper: bool) -> FloatArray:
    """Rows at the coordinates `at` [n] in [0, rows - 1], which lie one apart (see shift_rows)."""
    rows = len(actions)
    points = min(4, rows)
    left = np.clip(np.floor(at).astype(np.int64), 0, max(rows - 2, 0))
    first = np.clip(left - 1, 0, rows - points)
    picked = actions[first[:, None] + np.arange(points)]
    sampled = np.einsum("np,npd->nd", lagrange_weights(at - first, points), picked)
    if gripper:
        right = np.minimum(left + 1, rows - 1)
        share = at - left
        sampled[:, -1] = (1.0 - share) * actions[left, -1] + share * actions[right, -1]
    return np.asarray(sampled)
