"""Observation in, plan out: the policy beside execution, with every clock given by the caller.

One thread makes inferences (`run`, or `begin` and `finish`); any thread may ask or reset. One lock
guards all state and is never held while the policy computes; what is handed out is a copy.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from salus_ros.interfaces import Instant, Observation, PolicyState, nanoseconds, seconds
from salus_ros.policy.backend import Backend, GuidedBackend, PolicyError, Prediction
from salus_ros.policy.chunk_queue import ChunkQueue, Inference, QueueConfig
from salus_ros.policy.latency import LatencyEstimator
from salus_ros.policy.plan import PlannedChunk
from salus_ros.policy.scheduling import start_time

# An observation this much older than the last one means that the clock was set back [ns].
CLOCK_JUMP = nanoseconds(1.0)


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """When inferences start.

    percentile of the last `window` latencies, without the first `warmup`, is what the next one is
    expected to take; initial_latency [s] before any is known. margin_steps: steps of the plan that
    the caller may be late by. retry_seconds: pause after a failed inference.
    """

    window: int = 50
    percentile: float = 95.0
    warmup: int = 1
    initial_latency: float = 0.1
    margin_steps: float = 1.0
    retry_seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class LoopStatistics:
    """Counts since activation.

    chunks published; errors of the policy; dry: times that a chunk came after the plan had run
    out; discarded: inferences whose plan was reset meanwhile; latency: estimate for the next
    inference [s]; last_error: one line, "" where there was none.
    """

    chunks: int = 0
    errors: int = 0
    dry: int = 0
    discarded: int = 0
    latency: float = 0.0
    last_error: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one inference brought: a plan and its state, or an error, or neither (nothing to do)."""

    plan: PlannedChunk | None = None
    state: PolicyState | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """An inference under way: its observation, its place in the queue, and when it began."""

    observation: Observation
    inference: Inference
    began: Instant
    resets_policy: bool


class InferenceLoop:
    """Runs a policy beside the execution of its plans."""

    def __init__(
        self,
        backend: Backend,
        queue: QueueConfig,
        clock: Callable[[], Instant],
        config: LoopConfig | None = None,
        new_source_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._backend = backend
        self._queue = ChunkQueue(queue)
        self._clock = clock
        self._config = config or LoopConfig()
        self._new_source_id = new_source_id
        self._lock = threading.Lock()
        self._start_source()

    def activate(self) -> str:
        """Begin anew, under a new source id, which is returned. Counts and latencies start over."""
        with self._lock:
            self._start_source()
            return self._queue.source_id

    def _start_source(self) -> None:
        config = self._config
        self._queue.activate(self._new_source_id())
        self._latency = LatencyEstimator(
            config.window, config.percentile, config.warmup, config.initial_latency
        )
        self._statistics = LoopStatistics()
        self._restart()

    def reset(self) -> None:
        """A new episode: forget plan and past. The policy itself is reset at its next inference."""
        with self._lock:
            self._queue.clear()
            self._restart()

    def _restart(self) -> None:
        self._instruction: str | None = None
        self._plan_instruction: str | None = None
        self._last_stamp: int | None = None
        self._retry_at: int | None = None

    @property
    def source_id(self) -> str:
        """The id of this activation."""
        with self._lock:
            return self._queue.source_id

    @property
    def statistics(self) -> LoopStatistics:
        """Counts since activation."""
        with self._lock:
            return replace(self._statistics, latency=seconds(self._latency.estimate()))

    def remaining_seconds(self, now: Instant) -> float:
        """How much of the plan lies ahead [s]; 0 where there is none."""
        with self._lock:
            plan = self._queue.plan
            return 0.0 if plan is None else max(0.0, seconds(plan.end_time - now.ros))

    def wait_seconds(self, now: Instant) -> float:
        """How long the next inference may still wait [s]; 0: it is due, given a new observation."""
        with self._lock:
            return max(0.0, seconds(max(self._until_needed(now), self._until_retry(now))))

    def _until_needed(self, now: Instant) -> int:
        plan = self._queue.plan
        if plan is None or not self._latency.measured:
            return 0
        margin = round(self._config.margin_steps * plan.time_step)
        latency = self._latency.estimate()
        return start_time(plan.end_time, self._queue.horizon_end, latency, margin) - now.ros

    def _until_retry(self, now: Instant) -> int:
        return 0 if self._retry_at is None else self._retry_at - now.steady

    def run(
        self, observation: Observation, before_merging: Callable[[], None] = lambda: None
    ) -> Outcome:
        """One inference, from observation to plan, whether or not one is due.

        Nothing is done for an observation that is no newer than the last one. PolicyError becomes
        the outcome's error; any other exception is a fault of the backend and is passed on.
        before_merging: called once the policy has answered; what it takes is latency, too.
        """
        pending = self.begin(observation)
        if pending is None:
            return Outcome()
        try:
            prediction = self.predict(pending)
            before_merging()
        except PolicyError as error:
            return self._failed(error)
        return self.finish(pending, prediction)

    def begin(self, observation: Observation) -> Pending | None:
        """Note that an inference starts now; None where the observation is no newer than the last.

        An observation from well before the last one means that the clock was set back: a new
        source begins, since a consumer refuses stamps that fall within one.
        """
        now = self._clock()
        with self._lock:
            last = self._last_stamp
            if last is not None and observation.stamp <= last - CLOCK_JUMP:
                self._queue.activate(self._new_source_id())
                self._restart()
            elif last is not None and observation.stamp <= last:
                return None
            self._last_stamp = observation.stamp
            resets = observation.instruction != self._instruction
            self._instruction = observation.instruction
            # Until a chunk for a new instruction comes, the plan is still that of the old one.
            blends = observation.instruction == self._plan_instruction
            inference = self._queue.begin(
                observation.stamp, now.ros, self._latency.estimate(), blends
            )
            return Pending(observation, inference, now, resets)

    def predict(self, pending: Pending) -> Prediction:
        """Ask the policy, resetting it first at a new episode or instruction. Takes no lock."""
        if pending.resets_policy:
            self._backend.reset()
        guidance = pending.inference.guidance
        if guidance is not None and isinstance(self._backend, GuidedBackend):
            return self._backend.predict_guided(pending.observation, guidance)
        return self._backend.predict(pending.observation)

    def finish(self, pending: Pending, prediction: Prediction) -> Outcome:
        """Merge what an inference brought, as of now."""
        now = self._clock()
        try:
            with self._lock:
                return self._merge(pending, prediction, now)
        except PolicyError as error:
            return self._failed(error)

    def _merge(self, pending: Pending, prediction: Prediction, now: Instant) -> Outcome:
        before = self._queue.plan
        # Counted first: a chunk that came too late must move the estimate, or all do.
        if pending.inference.generation == self._queue.generation:
            self._latency.add(now.steady - pending.began.steady)
        planned = self._queue.merge(pending.inference, prediction, now.ros)
        counts = self._statistics
        if planned is None:
            self._statistics = replace(counts, discarded=counts.discarded + 1)
            return Outcome()
        dry = before is not None and now.ros > before.end_time
        self._retry_at = None
        self._plan_instruction = pending.observation.instruction
        self._statistics = replace(counts, chunks=counts.chunks + 1, dry=counts.dry + dry)
        return Outcome(planned, _state_of(pending, prediction, planned, now))

    def _failed(self, error: PolicyError) -> Outcome:
        now = self._clock()
        line = " ".join(str(error).split()) or "the policy failed without saying why"
        with self._lock:
            counts = self._statistics
            self._statistics = replace(counts, errors=counts.errors + 1, last_error=line)
            self._retry_at = now.steady + nanoseconds(self._config.retry_seconds)
        return Outcome(error=line)


def _state_of(
    pending: Pending, prediction: Prediction, planned: PlannedChunk, now: Instant
) -> PolicyState:
    stamp = pending.observation.stamp
    return PolicyState(
        source_id=planned.chunk.source_id,
        chunk_number=planned.chunk.number,
        observation_stamp=stamp,
        instruction=pending.observation.instruction,
        latent=np.array(prediction.latent, np.float32),
        distribution=prediction.distribution,
        exits=prediction.exits,
        stage_seconds=dict(prediction.stage_seconds),
        inference_delay_steps=max(0, -((stamp - now.ros) // prediction.time_step)),
    )
