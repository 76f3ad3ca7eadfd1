"""All 12 signals, step by step: one vector for each executed action.

The same numbers come from a whole recording (recording.py) and from many streams at once
(batch.py). Small vectors cost call overhead, not arithmetic, so the steps' bookkeeping is plain
floats and the norms are dot products.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import ActionDistribution, FloatArray
from salus_ros.signals.calibration import Calibration
from salus_ros.signals.config import SignalConfig
from salus_ros.signals.latent import LatentSignals
from salus_ros.signals.layout import (
    LARGEST_SIGNAL,
    LARGEST_SQUARE,
    SignalError,
    SignalVector,
    square,
)

NAN: Final = math.nan
# Signal 11 begins to rise this far from a joint limit [rad].
MARGIN_START: Final = 0.5
# Signal 12 needs this many values of signal 1.
FEWEST_VOLATILITIES: Final = 3


class SignalExtractor:
    """Signals of one stream of actions. Memory is bounded; nothing is kept of the inputs."""

    def __init__(self, config: SignalConfig, calibration: Calibration | None = None) -> None:
        self._config = config
        self._latent = LatentSignals(config.ema, calibration)
        self._ones = np.ones(config.window)
        self._history = np.zeros((config.window, config.action_dims))
        self._low = None if config.joint_low is None else np.array(config.joint_low, np.float64)
        self._high = None if config.joint_high is None else np.array(config.joint_high, np.float64)
        self._origin: tuple[str, str] | None = None
        self._volatilities: deque[float] = deque(maxlen=config.window)
        self.reset()

    def reset(self) -> None:
        """Forget the past: an episode begins."""
        self._latent.reset()
        self._chunk_signals = (NAN, NAN, NAN, NAN, NAN)
        self._count = 0
        self._previous: FloatArray | None = None
        self._before: FloatArray | None = None
        self._volatilities.clear()

    @property
    def problem(self) -> str:
        """One line where latents and calibration don't fit, else empty."""
        return self._latent.problem

    def on_chunk(
        self,
        latent: NDArray[np.float32] | FloatArray | None,
        distribution: ActionDistribution | None,
        source_id: str = "",
        instruction: str = "",
    ) -> None:
        """Take over what belongs to the chunk that the next steps are of; once per chunk.

        latent [width]; None or empty: there is none. History is reset at another source_id or
        instruction.
        """
        origin = (source_id, instruction)
        if self._origin is not None and origin != self._origin:
            self.reset()
        self._origin = origin
        h = None if latent is None else np.asarray(latent, np.float64)
        self._chunk_signals = (*self._latent.update(h), *distribution_signals(distribution))

    def step(
        self,
        action: FloatArray,
        joints: FloatArray | None = None,
        predicted_joints: FloatArray | None = None,
    ) -> SignalVector:
        """Signals of the action that is executed now.

        action [dims] in the policy's units; joints, predicted_joints [joints] rad (lag.py), None
        where unknown. Raises SignalError where a shape is wrong.
        """
        if np.shape(action) != (self._config.action_dims,):
            raise SignalError(
                f"an action of shape {np.shape(action)}: {self._config.action_dims} values "
                "are needed"
            )
        volatility, magnitude, acceleration, divergence, consistency = self._action_signals(action)
        return _vector(
            (
                volatility,
                magnitude,
                acceleration,
                divergence,
                *self._chunk_signals,
                *self._joint_signals(joints, predicted_joints),
                consistency,
            )
        )

    def _action_signals(self, action: FloatArray) -> tuple[float, float, float, float, float]:
        """Signals 1, 2, 3, 4 and 12."""
        a = np.array(action, np.float64)
        size = square(a)
        norm = self._config.normalisation
        if size <= LARGEST_SQUARE and norm is not None:
            a = norm.apply(a)
            size = square(a)
        if not size <= LARGEST_SQUARE:
            return NAN, NAN, NAN, NAN, NAN
        volatility, acceleration = self._differences(a)
        divergence = self._divergence(a)
        if self._previous is not None:
            self._volatilities.append(volatility)
        self._history[self._count % self._config.window] = a
        self._count += 1
        self._before, self._previous = self._previous, a
        return volatility, math.sqrt(size), acceleration, divergence, self._consistency()

    def _differences(self, a: FloatArray) -> tuple[float, float]:
        if self._previous is None:
            return NAN, NAN
        step = a - self._previous
        volatility = math.sqrt(square(step))
        if self._before is None:
            return volatility, NAN
        step -= self._previous
        step += self._before
        return volatility, math.sqrt(square(step))

    def _divergence(self, a: FloatArray) -> float:
        count = min(self._count, self._config.window)
        if count == 0:
            return NAN
        offset = self._ones[:count] @ self._history[:count]
        offset /= -count
        offset += a
        return math.sqrt(square(offset))

    def _consistency(self) -> float:
        values = self._volatilities
        count = len(values)
        if count < FEWEST_VOLATILITIES:
            return NAN
        mean = sum(values) / count
        return math.sqrt(sum([(value - mean) ** 2 for value in values]) / count)

    def _joint_signals(
        self, joints: FloatArray | None, predicted: FloatArray | None
    ) -> tuple[float, float]:
        """Signals 10 and 11."""
        if joints is None:
            return NAN, NAN
        q = np.asarray(joints, np.float64)
        if not square(q) <= LARGEST_SQUARE:
            return NAN, NAN
        mismatch = NAN
        if predicted is not None:
            _same_joints(q, predicted, "predicted joints")
            offset = q - predicted
            mismatch = math.sqrt(square(offset))
        return mismatch, self._margin(q)

    def _margin(self, q: FloatArray) -> float:
        if self._low is None or self._high is None:
            return NAN
        _same_joints(q, self._low, "joint limits")
        nearest = np.minimum(q - self._low, self._high - q).min()
        return max(0.0, MARGIN_START - float(nearest))


def distribution_signals(distribution: ActionDistribution | None) -> tuple[float, float]:
    """Signals 8 and 9; NaN where there is no distribution or its numbers are not in [0, 1]."""
    if distribution is None or distribution.samples < 2:
        return NAN, NAN
    entropy, largest = distribution.softmax_entropy, distribution.max_softmax_prob
    return (
        entropy if 0.0 <= entropy <= 1.0 else NAN,
        largest if 0.0 <= largest <= 1.0 else NAN,
    )


def _same_joints(q: FloatArray, other: FloatArray, what: str) -> None:
    if q.shape != np.shape(other):
        raise SignalError(f"{q.size} joints are measured, the {what} are {np.size(other)}")


def _vector(signals: tuple[float, ...]) -> SignalVector:
    valid = 0
    values = []
    for index, value in enumerate(signals):
        usable = -LARGEST_SIGNAL <= value <= LARGEST_SIGNAL  # False for NaN.
        valid |= usable << index
        values.append(value if usable else 0.0)
    return SignalVector(np.array(values, np.float32), valid)
