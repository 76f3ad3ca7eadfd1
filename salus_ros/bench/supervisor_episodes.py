"""Nominal episodes of the simulated arm, as the detectors see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import (
    NANOSECONDS,
    ActionChunk,
    FloatArray,
    Observation,
    nanoseconds,
)
from salus_ros.policy.backend import Backend, Prediction
from salus_ros.policy.chunk_queue import ChunkQueue, QueueConfig
from salus_ros.policy.registry import make_backend
from salus_ros.sim.lockstep import Lockstep, LockstepConfig
from salus_ros.sim.lockstep_series import panda_limits
from salus_ros.sim.rig import Rig
from salus_ros.sim.series import episode_series
from salus_ros.supervision.detectors import DetectorError, Episode
from salus_ros.supervision.detectors.bank import same_observation
from salus_ros.supervision.detectors.calibration import Identity
from salus_ros.supervision.detectors.plan_rows import PlanRows, TimedPlan
from salus_ros.supervision.limits import RobotLimits

ROBOT = "panda"
POLICY = "scripted_expert"


@dataclass(frozen=True, slots=True, eq=False)
class ArrivedChunk:
    """A chunk, when it reached the supervisor [ns], and what the policy had seen, as bytes."""

    chunk: ActionChunk
    arrival: int
    observation: tuple[bytes, ...] = ()


class RecordingBackend:
    """A policy whose observations and predictions are kept until they are taken."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.cameras = backend.cameras
        self.privileged = backend.privileged
        self._made: list[tuple[Observation, Prediction]] = []

    def warm_up(self) -> None:
        """As the policy does."""
        self._backend.warm_up()

    def reset(self) -> None:
        """As the policy does."""
        self._backend.reset()

    def predict(self, observation: Observation) -> Prediction:
        """As the policy does, and keep it."""
        prediction = self._backend.predict(observation)
        self._made.append((observation, prediction))
        return prediction

    def take(self) -> list[tuple[Observation, Prediction]]:
        """What was made since the last call."""
        made, self._made = self._made, []
        return made


def record_lockstep(
    count: int, seed: int, on_episode: Callable[[], None] = lambda: None
) -> list[Episode]:
    """Rows of `count` undisturbed episodes of the scripted expert; the same for the same seed.

    DetectorError where an episode fails: a failure is no normal data.
    """
    backend, rig, limits = RecordingBackend(make_backend(POLICY)), Rig(), panda_limits()
    config = LockstepConfig()
    lockstep = Lockstep(rig, backend, limits, config=config)
    episodes = []
    try:
        for instruction, episode_seed in episode_series(count, seed):
            run = lockstep.run_episode(instruction, episode_seed)
            made = backend.take()
            if run.status.success:
                episodes += rows_in_force(_chunks(made, limits, config))
            on_episode()
    finally:
        rig.close()
    if len(episodes) < count:
        raise DetectorError(f"only {len(episodes)} of {count} nominal episodes succeeded")
    return episodes


def _chunks(
    made: Sequence[tuple[Observation, Prediction]], limits: RobotLimits, config: LockstepConfig
) -> list[ArrivedChunk]:
    """The chunks that the policy node would have published, merged and on one grid."""
    gripper = limits.gripper.name if limits.gripper else ""
    queue = ChunkQueue(
        QueueConfig(limits.arm.names, gripper, config.execution_horizon, config.merging)
    )
    queue.activate("recorded")
    latency = nanoseconds(config.latency)
    chunks = []
    for observation, prediction in made:
        stamp, arrival = observation.stamp, observation.stamp + latency
        plan = queue.merge(queue.begin(stamp, stamp, latency), prediction, arrival)
        if plan is not None:
            seen = (observation.joints.positions.tobytes(),)
            chunks.append(ArrivedChunk(plan.chunk, arrival, seen))
    return chunks


def rows_in_force(chunks: Sequence[ArrivedChunk]) -> list[Episode]:
    """Each row once, from the chunk in force when it was due; a gap begins a new episode.

    A chunk is in force until the next arrives, the last one for its execution horizon.
    """
    rows = PlanRows()
    parts: list[list[tuple[FloatArray, FloatArray]]] = []
    seen: tuple[bytes, ...] = ()
    for index, arrived in enumerate(chunks):
        chunk = arrived.chunk
        stuck = same_observation(arrived.observation, seen)
        seen = arrived.observation
        rows.take(TimedPlan(chunk.actions, chunk.start_time, chunk.time_step, stuck))
        last = index + 1 == len(chunks)
        horizon = arrived.arrival + chunk.execution_horizon * chunk.time_step
        due = rows.due(horizon if last else chunks[index + 1].arrival - 1, arrived.arrival)
        if due is not None:
            if not due.follows:
                parts.append([])
            parts[-1].append((due.actions, due.stuck.astype(np.float64)))
    return [_joined(part) for part in parts if sum(len(a) for a, _ in part) > 1]


def _joined(part: Sequence[tuple[FloatArray, FloatArray]]) -> Episode:
    stuck = np.concatenate([flags for _, flags in part]) > 0
    return Episode(np.concatenate([actions for actions, _ in part]), stuck)


def panda_ranges() -> FloatArray:
    """Span of each action dimension of the simulated Panda [rad, and m for the gripper]."""
    limits = panda_limits()
    spans = [high - low for low, high in zip(limits.arm.lower, limits.arm.upper, strict=True)]
    if limits.gripper is not None:
        spans.append(limits.gripper.open - limits.gripper.closed)
    return np.array(spans)


def panda_identity() -> Identity:
    """Whom lock-step episodes are of."""
    limits = panda_limits()
    names = (*limits.arm.names, limits.gripper.name) if limits.gripper else limits.arm.names
    return Identity(ROBOT, names, NANOSECONDS / 33_333_333)
