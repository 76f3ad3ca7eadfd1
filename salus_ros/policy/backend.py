"""The interface that every policy implements; free of torch and ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

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


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """The plan that a chunk will be merged with, and how far a sampler is to heed it.

    prefix [rows, dims]: the plan at the times of the new chunk's first rows, stamp + k * time_step.
    weights [rows]: soft mask of real-time chunking (arXiv 2506.07339), 1 in the first `frozen`
    rows, which are executed before the new chunk can act; all 0 in the other merging modes, where
    the plan only tells from where the chunk goes on.
    """

    prefix: FloatArray
    weights: FloatArray
    frozen: int


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


@runtime_checkable
class GuidedBackend(Backend, Protocol):
    """A policy whose sampler can be guided towards a plan. Any other is blended with it instead."""

    def predict_guided(self, observation: Observation, guidance: Guidance) -> Prediction:
        """A chunk that goes on with the plan where the guidance weighs it. Raises PolicyError."""


class PolicyError(RuntimeError):
    """The policy can't make a chunk of this observation."""
