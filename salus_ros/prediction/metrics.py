"""Ranking quality with 95 % bootstrap intervals, episodes drawn with replacement.

Steps of one episode aren't independent, so whole episodes are drawn: each replicate weighs every
step by how often its episode was drawn. Exact rates of episodes: bench.supervisor_statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray

LEVEL = 0.95
REPLICATES = 500
BINS = 300
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; None where it isn't defined."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """For a result file."""
        return {"value": self.value, "low": self.low, "high": self.high}


NOT_DEFINED = Estimate(None)


class Ranking:
    """Scored items: scores [n], which are positive [n], and the episode that each is of [n]."""

    def __init__(
        self,
        scores: FloatArray,
        positive: NDArray[np.bool_],
        episodes: NDArray[np.int64] | None = None,
    ) -> None:
        """Without episodes, each item is one of its own."""
        values, self._place = np.unique(scores, return_inverse=True)
        self._values = len(values)
        self._positive = positive
        self._episodes = np.arange(len(scores)) if episodes is None else episodes
        self.episodes = int(self._episodes.max(initial=-1)) + 1

    def auc(self) -> float:
        """Area under the ROC curve, ties counted half; NaN without both classes."""
        return float(_area(*self._counts()))

    def average_precision(self) -> float:
        """Sum of precision times step in recall, from the highest score on; NaN if undefined."""
        return float(_average_precision(*self._counts()))

    def aucs(self, draws: FloatArray) -> FloatArray:
        """[replicates] of draws [replicates, episodes]: how often each episode is counted."""
        return _area(*(draws @ table for table in self._tables()))

    def auc_estimate(self, seed: int = 0) -> Estimate:
        """With its interval."""
        return self._estimate(self.auc(), _area, seed)

    def average_precision_estimate(self, seed: int = 0) -> Estimate:
        """With its interval."""
        return self._estimate(self.average_precision(), _average_precision, seed)

    def _estimate(
        self, value: float, metric: Callable[[FloatArray, FloatArray], FloatArray], seed: int
    ) -> Estimate:
        if not np.isfinite(value):
            return NOT_DEFINED
        draws = episode_draws(self.episodes, seed)
        found = metric(*(draws @ table for table in self._tables()))
        return Estimate(value, *interval(found[np.isfinite(found)]))

    def _counts(self) -> tuple[FloatArray, FloatArray]:
        """[values]: positive and negative items of each score, from the lowest on."""
        positive = _sums(self._place, self._positive, self._values)
        return positive, _sums(self._place, ~self._positive, self._values)

    def _tables(self) -> tuple[FloatArray, FloatArray]:
        """[episodes, bins]: the same by episode, for the intervals alone in BINS bins at most."""
        bins = min(self._values, BINS)
        place = self._episodes * bins + self._place * bins // max(self._values, 1)
        positive, negative = (
            _sums(place, chosen, self.episodes * bins).reshape(self.episodes, bins)
            for chosen in (self._positive, ~self._positive)
        )
        return positive, negative


def _sums(place: NDArray[np.int64], chosen: NDArray[np.bool_], count: int) -> FloatArray:
    return np.bincount(place[chosen], minlength=count).astype(np.float64)


def _area(positive: FloatArray, negative: FloatArray) -> FloatArray:
    """Of counts [..., values]; NaN where there is none of one class."""
    below = np.cumsum(negative, axis=-1) - 0.5 * negative
    pairs = positive.sum(axis=-1) * negative.sum(axis=-1)
    return _quotient((positive * below).sum(axis=-1), pairs)


def _average_precision(positive: FloatArray, negative: FloatArray) -> FloatArray:
    positive, negative = positive[..., ::-1], negative[..., ::-1]
    hits = np.cumsum(positive, axis=-1)
    found = hits + np.cumsum(negative, axis=-1)
    precision = hits / np.maximum(found, 1.0)
    return _quotient((precision * positive).sum(axis=-1), positive.sum(axis=-1))


def _quotient(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """NaN where the denominator is 0."""
    found = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=found, where=denominator > 0)
    return found


def episode_draws(episodes: int, seed: int, replicates: int = REPLICATES) -> FloatArray:
    """[replicates, episodes]: how often each episode is drawn."""
    rng = np.random.default_rng(seed)
    shares = np.full(episodes, 1 / episodes)
    return rng.multinomial(episodes, shares, replicates).astype(np.float64)


def interval(values: list[float] | FloatArray) -> Interval:
    """95 % percentile interval of replicates."""
    low, high = np.quantile(np.asarray(values), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def auc(scores: FloatArray, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve of scores [n]; NaN without both classes."""
    return Ranking(scores, positive).auc()


def best_f1(scores: FloatArray, positive: NDArray[np.bool_]) -> tuple[float, float]:
    """The largest F1 over all thresholds, and the threshold (score >= it counts as found)."""
    thresholds = np.unique(scores)
    if not positive.any():
        return float("nan"), float(thresholds[-1])
    found = scores[:, None] >= thresholds
    hits = (found & positive[:, None]).sum(axis=0)
    f1 = 2 * hits / (found.sum(axis=0) + positive.sum())
    return float(f1.max()), float(thresholds[f1.argmax()])
