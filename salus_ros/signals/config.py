"""What the signals need to know of policy and robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.signals.layout import SignalError

# A dimension that moves less carries no signal, and dividing by it could overflow.
SMALLEST_SCALE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """The policy's normalised units: (action - offset) / scale, each [dims]."""

    offset: FloatArray
    scale: FloatArray

    @classmethod
    def of_mean_std(cls, mean: FloatArray, std: FloatArray) -> Normalisation:
        """Mean 0, standard deviation 1."""
        return cls(_vector(mean, "mean"), _positive(_vector(std, "std"), "std"))

    @classmethod
    def of_range(cls, low: FloatArray, high: FloatArray) -> Normalisation:
        """The range low ... high becomes -1 ... 1."""
        low, high = _vector(low, "low"), _vector(high, "high")
        return cls((low + high) / 2.0, _positive((high - low) / 2.0, "high - low"))

    def apply(self, actions: FloatArray) -> FloatArray:
        """Normalise actions [..., dims]."""
        return np.asarray((actions - self.offset) / self.scale)


def _vector(values: FloatArray, name: str) -> FloatArray:
    vector = np.array(values, np.float64)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise SignalError(f"{name} is {vector.tolist()}: one finite number a dimension is needed")
    return vector


def _positive(vector: FloatArray, name: str) -> FloatArray:
    if not (vector >= SMALLEST_SCALE).all():
        raise SignalError(
            f"{name} of dimension {int(np.argmin(vector))} is {vector.min():g}: "
            f"it must be at least {SMALLEST_SCALE:g}"
        )
    return vector


@dataclass(frozen=True, slots=True, eq=False)
class SignalConfig:
    """Of one policy on one robot.

    action_dims: columns of an action, the gripper's included. window: steps of history (w).
    ema: factor of the moving average of latent norms. normalisation: None where actions come
    normalised. joint_low, joint_high [joints] rad: None where the limits are unknown (signal 11
    is then invalid); an infinite one is no limit.
    """

    action_dims: int
    window: int = 10
    ema: float = 0.1
    normalisation: Normalisation | None = None
    joint_low: FloatArray | None = None
    joint_high: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.action_dims < 1 or self.window < 3 or not 0.0 < self.ema <= 1.0:
            raise SignalError(
                f"action_dims {self.action_dims}, window {self.window}, ema {self.ema}: "
                "give at least 1, at least 3, and in (0, 1]"
            )
        norm = self.normalisation
        if norm is not None and norm.offset.shape != (self.action_dims,):
            raise SignalError(
                f"the normalisation has {norm.offset.size} dimensions, actions have "
                f"{self.action_dims}: give one value an action dimension"
            )
        self._check_limits()

    def _check_limits(self) -> None:
        low, high = self.joint_low, self.joint_high
        if (low is None) != (high is None):
            raise SignalError("joint_low or joint_high is missing: give both or neither")
        if low is None or high is None:
            return
        if np.shape(low) != np.shape(high) or not np.all(np.asarray(low) < np.asarray(high)):
            raise SignalError("joint_low must be below joint_high at each joint")
