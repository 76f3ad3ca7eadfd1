"""Probabilities that mean what they say: logits rescaled on episodes kept for that.

Focal loss and dropout distort probabilities. Each column of logits gets slope and intercept by
maximum likelihood (Platt, "Probabilistic outputs for support vector machines", 1999), with a weak
prior at a slope of one, and a slope that is never below zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray

# Fewer positive steps, or of fewer episodes, say too little about a column of its own.
FEWEST_POSITIVE_STEPS, FEWEST_POSITIVE_EPISODES = 20, 4
SMALLEST_SLOPE = 0.05
_PRIOR = 10.0
_ITERATIONS = 50
_LARGEST_LOGIT = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Platt:
    """slope and intercept of each column; probability = sigmoid(slope * logit + intercept)."""

    slope: FloatArray
    intercept: FloatArray

    def logits(self, logits: NDArray[np.floating]) -> FloatArray:
        """Calibrated logits of logits [..., columns]."""
        calibrated: FloatArray = np.asarray(logits, np.float64) * self.slope + self.intercept
        return calibrated

    def table(self, logits: NDArray[np.floating]) -> FloatArray:
        """Probabilities [..., horizons, types]; each horizon's at least the shorter one's.

        Columns calibrated one by one may cross: the larger of the two then counts for both.
        """
        rising: FloatArray = np.maximum.accumulate(sigmoid(self.logits(logits)), axis=-2)
        return rising

    def with_type(self, kind: int, other: Platt) -> Platt:
        """This table's calibration [horizons, types] with one type's from another [horizons, 1]."""
        slope, intercept = self.slope.copy(), self.intercept.copy()
        slope[:, kind], intercept[:, kind] = other.slope[:, 0], other.intercept[:, 0]
        return Platt(slope, intercept)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Probabilities of logits."""
    bounded = np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT)
    probabilities: FloatArray = 1.0 / (1.0 + np.exp(-bounded))
    return probabilities


def fit_platt(
    logits: FloatArray, labels: FloatArray, weights: FloatArray | None = None
) -> tuple[float, float]:
    """Slope and intercept for logits [n] and labels [n] in {0, 1}, by Newton's method."""
    inputs = np.stack([logits, np.ones_like(logits)], axis=1)
    weights = np.ones_like(logits) if weights is None else weights
    share = np.clip((weights * labels).sum() / weights.sum(), 1e-6, 1 - 1e-6)
    found = np.array([1.0, float(np.log(share / (1 - share))) - float(logits.mean())])
    for _ in range(_ITERATIONS):
        p = sigmoid(inputs @ found)
        gradient = inputs.T @ (weights * (p - labels))
        gradient[0] += _PRIOR * (found[0] - 1.0)
        curvature = (inputs * (weights * p * (1 - p))[:, None]).T @ inputs
        curvature += np.diag([_PRIOR, 1e-6])
        step = np.linalg.solve(curvature, gradient)
        found = found - np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    return max(float(found[0]), SMALLEST_SLOPE), float(found[1])


def fit_table(logits: FloatArray, labels: NDArray[np.bool_], episodes: NDArray[np.int64]) -> Platt:
    """For logits and labels [n, horizons, types] of steps, each of episode [n].

    A type with too few failures takes what fits all types of that horizon together.
    """
    shape = logits.shape[1:]
    slope, intercept = np.ones(shape), np.zeros(shape)
    for h in range(shape[0]):
        if not labels[:, h].any():
            continue
        shared = fit_platt(logits[:, h].ravel(), labels[:, h].ravel().astype(np.float64))
        for k in range(shape[1]):
            positive = labels[:, h, k]
            own = positive.sum() >= FEWEST_POSITIVE_STEPS and (
                len(np.unique(episodes[positive])) >= FEWEST_POSITIVE_EPISODES
            )
            column = logits[:, h, k], positive.astype(np.float64)
            slope[h, k], intercept[h, k] = fit_platt(*column) if own else shared
    return Platt(slope, intercept)
