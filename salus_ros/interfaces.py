"""What the parts of the graph tell each other, as plain Python.

The same content as the messages in `msg/`, free of ROS types, so that every part also runs in
lock-step, in tests and in replay. All times are integer nanoseconds on the clock that the caller
injects; all joint values are radians in the order of the robot's joints; a gripper is the opening
width between its fingers in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

NANOSECONDS: Final = 1_000_000_000


class Instant(NamedTuple):
    """One moment on two clocks [ns].

    ros: the clock of message stamps, which may jump. steady: never jumps; ages of what arrived
    are judged on it. In lock-step both are the rig's time.
    """

    ros: int
    steady: int


def seconds(nanoseconds: int) -> float:
    """Nanoseconds as seconds."""
    return nanoseconds / NANOSECONDS


def nanoseconds(seconds: float) -> int:
    """Seconds as the nearest whole nanosecond."""
    return round(seconds * NANOSECONDS)


@dataclass(frozen=True, slots=True)
class JointState:
    """A measurement of the arm.

    positions [joints] rad, velocities [joints] rad/s, efforts [joints] Nm (empty: unknown),
    gripper opening width m (None: no gripper).
    """

    stamp: int
    positions: FloatArray
    velocities: FloatArray
    efforts: FloatArray
    gripper: float | None = None


@dataclass(frozen=True, slots=True)
class BlockPose:
    """True pose of a block in the robot's base frame: position [3] m, yaw rad (about z)."""

    color: str
    position: FloatArray
    yaw: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy sees: images by camera name, [height, width, 3] uint8 RGB.

    privileged_blocks: true poses that only a simulation knows, for the scripted expert alone.
    """

    stamp: int
    joints: JointState
    instruction: str
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    privileged_blocks: tuple[BlockPose, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """A plan in time: row k of `actions` is due at start_time + k * time_step.

    actions [rows, joints (+ 1 where gripper_name is set)]: absolute joint targets [rad], then the
    gripper's opening width [m]. Row `first_fresh_step` is the first that comes from this
    inference. `execution_horizon` rows are meant to be executed before the next chunk comes.
    Content is as received: a consumer checks it (see supervision.checks).
    """

    source_id: str
    number: int
    joint_names: tuple[str, ...]
    gripper_name: str
    start_time: int
    time_step: int
    actions: FloatArray
    first_fresh_step: int
    execution_horizon: int
    observation_stamp: int


@dataclass(frozen=True, slots=True)
class ActionDistribution:
    """Summary of a policy's action distribution over its execution window (see PolicyState.msg)."""

    samples: int
    softmax_entropy: float
    max_softmax_prob: float


@dataclass(frozen=True, slots=True)
class EarlyExit:
    """How one token group left the network: layer -1 means that it ran to the end."""

    route: str
    layer: int
    ratio: float


@dataclass(frozen=True, slots=True)
class PolicyState:
    """What happened inside a policy while it made one chunk; latent [width] or empty."""

    source_id: str
    chunk_number: int
    observation_stamp: int
    instruction: str
    latent: NDArray[np.float32]
    distribution: ActionDistribution | None
    exits: tuple[EarlyExit, ...]
    stage_seconds: dict[str, float]
    inference_delay_steps: int


@dataclass(frozen=True, slots=True)
class JointCommand:
    """One sample of the commanded motion.

    stamp: the trajectory clock; positions rad, velocities rad/s, accelerations rad/s^2, each
    [joints]; gripper opening width m (None: no gripper).
    """

    stamp: int
    positions: FloatArray
    velocities: FloatArray
    accelerations: FloatArray
    gripper: float | None
