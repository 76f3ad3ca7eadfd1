"""Signals 5, 6 and 7: what the policy's latent says, once per chunk."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.signals.calibration import Calibration
from salus_ros.signals.layout import LARGEST_SQUARE, square

NAN: Final = math.nan
# The running estimate leans this far towards its mean variance, so that a latent value which
# happened not to move yet does not make any move of it an outlier.
SHRINKAGE: Final = 0.1
FEWEST_EARLIER: Final = 2
SMALLEST_VARIANCE: Final = 1e-20
SMALLEST_NORM: Final = 1e-12


class LatentSignals:
    """Drift, norm spike and out-of-distribution distance of successive latents."""

    def __init__(self, ema: float, calibration: Calibration | None) -> None:
        calibrated = calibration is not None and calibration.latent_mean.size > 0
        self._calibration = calibration if calibrated else None
        self._ema_factor = ema
        # One line for the user, where latents and calibration don't fit.
        self.problem = ""
        if self._calibration is not None:
            self._axes = np.ascontiguousarray(self._calibration.latent_whitening.T)
            self._centre = self._axes @ self._calibration.latent_mean
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._previous: FloatArray | None = None
        self._ema = NAN
        self._moments = RunningMoments(0)

    def update(self, latent: FloatArray | None) -> tuple[float, float, float]:
        """Signals 5, 6, 7 of a chunk's latent [width] or None; NaN where unknown."""
        if latent is None or len(latent) == 0:
            return NAN, NAN, NAN
        h = np.array(latent, np.float64)
        size = square(h)
        if not size <= LARGEST_SQUARE:
            return NAN, NAN, NAN
        if self._previous is not None and self._previous.shape != h.shape:
            self.reset()  # Another model: nothing of the past can be compared.
        signals = self._drift(h), self._spike(math.sqrt(size)), self._distance(h)
        self._previous = h
        return signals

    def _drift(self, h: FloatArray) -> float:
        if self._previous is None:
            return NAN
        step = h - self._previous
        return math.sqrt(square(step))

    def _spike(self, norm: float) -> float:
        average = self._ema
        if math.isnan(average):
            self._ema = norm
            return NAN
        self._ema += self._ema_factor * (norm - average)
        return norm / average if average > SMALLEST_NORM else NAN

    def _distance(self, h: FloatArray) -> float:
        if self._calibration is None:
            if self._moments.width != len(h):
                self._moments = RunningMoments(len(h))
            return self._moments.distance_then_add(h)
        if self._axes.shape[1] != len(h):
            self.problem = (
                f"the policy's latent has {len(h)} values, the calibration "
                f"{self._axes.shape[1]}: calibrate again"
            )
            return NAN
        offset = self._axes @ h
        offset -= self._centre
        return math.sqrt(square(offset))


class RunningMoments:
    """Mean and variance of each value of the latents so far (Welford, 1962)."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._count = 0
        self._mean = np.zeros(width)
        self._squares = np.zeros(width)
        self._ones = np.ones(width)
        self._offset = np.empty(width)
        self._work = np.empty(width)

    def distance_then_add(self, h: FloatArray) -> float:
        """Distance of h [width] to the earlier ones, of which it then becomes one."""
        np.subtract(h, self._mean, out=self._offset)
        distance = self._distance()
        self._count += 1
        np.divide(self._offset, self._count, out=self._work)
        self._mean += self._work
        np.subtract(h, self._mean, out=self._work)
        self._work *= self._offset
        self._squares += self._work
        return distance

    def _distance(self) -> float:
        if self._count < FEWEST_EARLIER:
            return NAN
        mean_variance = float(self._ones @ self._squares) / (self._count * self.width)
        if mean_variance < SMALLEST_VARIANCE:
            return NAN
        np.multiply(self._squares, (1.0 - SHRINKAGE) / self._count, out=self._work)
        self._work += SHRINKAGE * mean_variance
        np.divide(self._offset, self._work, out=self._work)
        return math.sqrt(float(self._work @ self._offset) / self.width)
