"""Recording demonstrations: what a policy saw at each inference, and what the teacher would do.

Episodes run in lock-step, through the same loop, merging and gate as on the robot. An actor drives
(the teacher, or a policy that is being trained); the teacher labels each observation. Disturbances
of its own lead the actor astray, so that the way back is in the data, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import BlockPose, FloatArray, Observation, seconds
from salus_ros.policy.anchor import Anchor, Start
from salus_ros.policy.backend import Backend, PolicyError, Prediction
from salus_ros.sim import expert
from salus_ros.sim.demonstrator import demonstrate, steer
from salus_ros.sim.kinematics import tool_pose
from salus_ros.sim.lockstep import Lockstep, LockstepConfig
from salus_ros.sim.lockstep_series import panda_limits
from salus_ros.sim.rig import Rig
from salus_ros.sim.tasks import AREA_LOWER, AREA_UPPER, TASKS, parse_instruction
from salus_ros.sim.world import CAMERAS

EXECUTION_HORIZON = 3
LATENCIES = (0.03, 0.10)
"""Seconds; each episode has one between these."""
_BURSTS = 3
_LONGEST = 9.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One observation and its label.

    time: since the start of the episode [s]. start: what the chunk starts from. measured: joints
    [rad] and opening width [m]. chunk [rows, 8]: what the teacher would do from there.
    """

    time: float
    images: dict[str, NDArray[np.uint8]]
    start: Start
    measured: FloatArray
    blocks: tuple[BlockPose, ...]
    chunk: FloatArray


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One episode."""

    instruction: str
    seed: int
    success: bool
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class _Burst:
    """From `begin` to `end` [s] the tool is led to a pose [4] (None: where it is)."""

    begin: float
    end: float
    pose: FloatArray | None
    closed: bool


class _Labeller:
    """Backend that acts with another one and notes what the teacher would have done."""

    privileged = True

    def __init__(self, actor: Backend | None) -> None:
        self._actor = actor
        self.cameras: tuple[str, ...] = CAMERAS
        self._anchor = Anchor()
        self.begin(0, None)

    def begin(self, start: int, rng: np.random.Generator | None) -> None:
        """An episode begins at `start` [ns]; rng: for disturbances, None: without."""
        self.frames: list[Frame] = []
        self._start = start
        self._rng = rng
        self._bursts: list[_Burst] | None = None

    def warm_up(self) -> None:
        """The actor's."""
        if self._actor is not None:
            self._actor.warm_up()

    def reset(self) -> None:
        """Forget the last chunk."""
        self._anchor.forget()
        if self._actor is not None:
            self._actor.reset()

    def predict(self, observation: Observation) -> Prediction:
        """Note the teacher's chunk; act as the actor does, or as the disturbance in force."""
        time = seconds(observation.stamp - self._start)
        try:
            chunk = self._label(observation, time)
            rows = self._disturbed(observation, time)
        except ValueError as error:
            self._anchor.forget()
            raise PolicyError(f"demonstrator: {error}") from error
        start = self._anchor.at(observation)
        rows_now = chunk if rows is None else rows
        prediction = Prediction(rows_now, 33_333_333, continues=start.planned)
        if rows is None and self._actor is not None:
            prediction = self._actor.predict(observation)
        self._anchor.remember(observation.stamp, prediction)
        return prediction

    def _label(self, observation: Observation, time: float) -> FloatArray:
        start, joints = self._anchor.at(observation), observation.joints
        if joints.gripper is None:
            raise ValueError("the arm has no gripper")
        task = parse_instruction(observation.instruction)
        block = expert.find_block(observation.privileged_blocks, task.color)
        chunk = demonstrate(start, joints.gripper, task, block)
        measured = np.array([*joints.positions, joints.gripper])
        blocks = observation.privileged_blocks
        self.frames.append(Frame(time, observation.images, start, measured, blocks, chunk))
        return chunk

    def _disturbed(self, observation: Observation, time: float) -> FloatArray | None:
        if self._rng is None:
            return None
        if self._bursts is None:
            self._bursts = _draw_bursts(self._rng, observation)
        for burst in self._bursts:
            if burst.begin <= time < burst.end:
                start = self._anchor.at(observation)
                pose = tool_pose(start.targets[:-1]) if burst.pose is None else burst.pose
                return steer(start, pose, burst.closed)
        return None


def _draw_bursts(rng: np.random.Generator, observation: Observation) -> list[_Burst]:
    bursts = []
    for begin in np.sort(rng.uniform(0.5, _LONGEST * 0.6, rng.integers(0, _BURSTS + 1))):
        duration = rng.uniform(0.3, 1.0)
        kind = rng.choice(["anywhere", "near", "low", "gripper"], p=[0.3, 0.35, 0.2, 0.15])
        pose = None if kind == "gripper" else _draw_pose(rng, observation, str(kind))
        closed = bool(rng.random() < (0.7 if kind == "gripper" else 0.1))
        bursts.append(_Burst(float(begin), float(begin + duration), pose, closed))
    return bursts


def _draw_pose(rng: np.random.Generator, observation: Observation, kind: str) -> FloatArray:
    if kind == "anywhere":
        x, y = rng.uniform(AREA_LOWER - 0.04, AREA_UPPER + 0.04)
        return np.array([x, y, rng.uniform(0.09, 0.32), rng.uniform(-0.8, 0.8)])
    blocks = observation.privileged_blocks
    wanted = parse_instruction(observation.instruction).color
    mine = expert.find_block(blocks, wanted)
    block = mine if rng.random() < 0.8 else blocks[rng.integers(len(blocks))]
    near = kind == "near"
    x, y = block.position[:2] + rng.normal(0.0, 0.018 if near else 0.005, 2)
    z = rng.uniform(0.07, 0.14) if near else rng.uniform(0.022, 0.07)
    yaw = expert.grasp_yaw(block) + rng.normal(0.0, 0.3 if near else 0.08)
    return np.array([x, y, z, yaw])


def demonstrations(
    episodes: int, seed: int, actor: Backend | None = None, disturbed: float = 0.7
) -> Iterator[Demonstration]:
    """Record episodes; instructions in turn, start states from seed, seed + 1, ...

    actor None: the teacher. disturbed: share of the episodes with disturbances.
    """
    labeller = _Labeller(actor)
    rig = Rig()
    try:
        for i in range(episodes):
            rng = np.random.default_rng([seed + i, 9])
            config = LockstepConfig(
                latency=float(rng.uniform(*LATENCIES)),
                cameras=CAMERAS,
                execution_horizon=EXECUTION_HORIZON,
            )
            lockstep = Lockstep(rig, labeller, panda_limits(), config=config)
            labeller.begin(rig.time, rng if rng.random() < disturbed else None)
            task = TASKS[(seed + i) % len(TASKS)]
            run = lockstep.run_episode(task.instruction, seed + i)
            yield Demonstration(
                task.instruction, seed + i, run.status.success, tuple(labeller.frames)
            )
    finally:
        rig.close()
