"""The alarm: a score over the time of an episode, and a band that successes stay under.

Functional split-conformal prediction: the shape of the band, mean and spread of the scores of
successes at each step, comes from some episodes; its height from others, as the quantile of how far
each rises over that shape at its worst step. Of successes of the same kind at most a share alpha
then ever leaves the band, whatever the distribution. Source: Diquigiovanni, Fontana and Vantini,
"Conformal prediction bands for multivariate functional data", 2022; Xu et al., "Can we detect
failures without failure data?", 2025.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray
from salus_ros.signals.layout import SignalError

ALPHA = 0.05
FEWEST_SUCCESSES = 100
# Shape: steps with fewer successes still running take over the last that had enough.
_FEWEST_RUNNING = 10
_SMOOTHING_STEPS = 15
_SMALLEST_SPREAD = 0.05
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """threshold [L]: of the score at each step since the episode's start; the last one holds on.

    release: how far below the threshold the score must have been, for release_steps on end, before
    the alarm goes off again. alpha: share of successes that may raise it. successes: how many set
    the height.
    """

    threshold: FloatArray
    alpha: float = ALPHA
    release: float = 0.5
    release_steps: int = 10
    successes: int = 0

    def at(self, step: int) -> float:
        """Threshold at that step."""
        return float(self.threshold[min(step, len(self.threshold) - 1)])

    def over(self, steps: int) -> FloatArray:
        """Thresholds at the first `steps` steps."""
        last = len(self.threshold) - 1
        return np.asarray(self.threshold[np.minimum(np.arange(steps), last)], np.float64)


class Alarm:
    """Follows one episode."""

    def __init__(self, band: Band) -> None:
        self._band = band
        self.reset()

    def reset(self) -> None:
        """An episode begins."""
        self._step = 0
        self._quiet = 0
        self.on = False
        self.threshold = self._band.at(0)

    def update(self, score: float) -> bool:
        """Whether the alarm is on, given the score of the next step."""
        self.threshold = self._band.at(self._step)
        self._step += 1
        if score > self.threshold:
            self.on, self._quiet = True, 0
        elif score < self.threshold - self._band.release:
            self._quiet += 1
            self.on = self.on and self._quiet < self._band.release_steps
        else:
            self._quiet = 0
        return self.on


def alarms(band: Band, scores: FloatArray) -> NDArray[np.bool_]:
    """Whether the alarm is on at each step of scores [T]."""
    alarm = Alarm(band)
    return np.array([alarm.update(float(score)) for score in scores], np.bool_)


def first_alarm(band: Band, scores: FloatArray) -> int:
    """The first step of scores [T] with the alarm on; -1: none."""
    over = np.flatnonzero(scores > band.over(len(scores)))
    return int(over[0]) if len(over) else -1


def fit_band(
    shape: Sequence[FloatArray],
    height: Sequence[FloatArray],
    alpha: float = ALPHA,
    fewest: int = FEWEST_SUCCESSES,
) -> Band:
    """From the scores [T] of successes: those for the shape, and those for the height.

    Raises SignalError where fewer than `fewest`, or than alpha asks for, are given for the height.
    """
    check_successes(len(height), alpha, fewest)
    if not shape:
        raise SignalError("no success outside the conformal split: the band has no shape")
    mean, spread = _shape(shape)
    heights = np.sort([_height(scores, mean, spread) for scores in height])
    rank = math.ceil((len(heights) + 1) * (1 - alpha) - _ROUNDING)
    return Band(mean + heights[rank - 1] * spread, alpha, successes=len(heights))


def check_successes(count: int, alpha: float = ALPHA, fewest: int = FEWEST_SUCCESSES) -> None:
    """Raise SignalError where `count` calibration successes can't hold alpha."""
    if not 0 < alpha < 1:
        raise SignalError(f"false-alarm rate {alpha:g} is not between 0 and 1: change it")
    needed = max(fewest, math.ceil(1 / alpha - 1 - _ROUNDING))
    if count < needed:
        raise SignalError(
            f"the alarm's calibration needs {needed} successful episodes that nothing else uses, "
            f"there are {count}: record more episodes"
        )


def _shape(successes: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Mean and spread [L] over the steps that enough successes reach."""
    lengths = np.sort([len(scores) for scores in successes])[::-1]
    steps = int(lengths[min(_FEWEST_RUNNING, len(lengths)) - 1])
    table = np.full((len(successes), steps), np.nan)
    for row, scores in zip(table, successes, strict=True):
        row[: len(scores)] = scores[:steps]
    mean = _smooth(np.nanmean(table, axis=0))
    spread = _smooth(np.nanstd(table, axis=0))
    return mean, np.maximum(spread, _SMALLEST_SPREAD)


def _smooth(values: FloatArray) -> FloatArray:
    width = min(_SMOOTHING_STEPS, len(values))
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def _height(scores: FloatArray, mean: FloatArray, spread: FloatArray) -> float:
    place = np.minimum(np.arange(len(scores)), len(mean) - 1)
    return float(((scores - mean[place]) / spread[place]).max())
