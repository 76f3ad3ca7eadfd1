"""The interface that every policy implements; free of torch and ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import ActionDistribution, EarlyExit, FloatArray, Observation


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a policy makes of one observation.

    actions [horizon, joints (+ gripper)]: absolute targets, row k due at the observation's stamp
    + k * time_step: joints [rad], then the gripper's opening width [m]. time_step [ns].
    latent [width], empty where the policy has none. stage_seconds: duration of each stage.
    continues: whether row 0 is a point of the policy's last chunk; false where the arm was found
    elsewhere, and the chunk starts from there.
    """

    actions: FloatArray
    time_step: int
    latent: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    distribution: ActionDistribution | None = None
    exits: tuple[EarlyExit, ...] = ()
    stage_seconds: dict[str, float] = field(default_factory=dict)
    continues: bool = True


class Backend(Protocol):
    """A policy. Used from one thread at a time.

    `cameras` names the images that each observation must hold; `privileged` is true where the
    policy reads what only a simulation knows.
    """

    cameras: tuple[str, ...]
    privileged: bool

    def warm_up(self) -> None:
        """Allocate, compile and run once, so that the first prediction is as fast as any."""

    def reset(self) -> None:
        """Forget the past: a new episode or a new instruction begins."""

    def predict(self, observation: Observation) -> Prediction:
        """Turn an observation into a chunk.

        Raises PolicyError, with one line for the user, where it can't; the policy is then
        expected to be usable again with the next observation.
        """


class PolicyError(RuntimeError):
    """The policy can't make a chunk of this observation."""
