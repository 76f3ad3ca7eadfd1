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
        self._count = len(values)
        self._positive = positive.astype(np.float64)
        self._episodes = np.arange(len(scores)) if episodes is None else episodes
        self.episodes = int(self._episodes.max(initial=-1)) + 1

    def auc(self, draws: FloatArray | None = None) -> float:
        """Area under the ROC curve, ties counted half; NaN without both classes.

        draws [episodes]: how often each is counted; None: once.
        """
        positive, negative = self._counts(draws)
        total = positive.sum() * negative.sum()
        if total == 0:
            return float("nan")
        below = np.cumsum(negative) - 0.5 * negative
        return float((positive * below).sum() / total)

    def average_precision(self, draws: FloatArray | None = None) -> float:
        """Sum of precision times step in recall, from the highest score on."""
        positive, negative = (c[::-1] for c in self._counts(draws))
        if positive.sum() == 0:
            return float("nan")
        hits = np.cumsum(positive)
        found = hits + np.cumsum(negative)
        precision = np.divide(hits, found, out=np.ones_like(hits), where=found > 0)
        return float((precision * positive).sum() / positive.sum())

    def _counts(self, draws: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        weights = np.ones(len(self._place)) if draws is None else draws[self._episodes]
        positive = _sums(self._place, weights * self._positive, self._count)
        return positive, _sums(self._place, weights, self._count) - positive


def _sums(place: NDArray[np.int64], weights: FloatArray, count: int) -> FloatArray:
    return np.bincount(place, weights, count).astype(np.float64)


def estimate(
    metric: Callable[[FloatArray | None], float],
    episodes: int,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Estimate:
    """The metric of all, and its percentile interval over episodes drawn anew."""
    value = metric(None) if episodes else float("nan")
    if not np.isfinite(value):
        return NOT_DEFINED
    found = [metric(draws) for draws in episode_draws(episodes, seed, replicates)]
    low, high = interval([f for f in found if np.isfinite(f)])
    return Estimate(value, low, high)


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


def auc_estimate(
    scores: FloatArray,
    positive: NDArray[np.bool_],
    episodes: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Estimate:
    """Area under the ROC curve with its interval."""
    ranking = Ranking(scores, positive, episodes)
    return estimate(ranking.auc, ranking.episodes, seed)


def best_f1(scores: FloatArray, positive: NDArray[np.bool_]) -> tuple[float, float]:
    """The largest F1 over all thresholds, and the threshold (score >= it counts as found)."""
    thresholds = np.unique(scores)
    if not positive.any():
        return float("nan"), float(thresholds[-1])
    found = scores[:, None] >= thresholds
    hits = (found & positive[:, None]).sum(axis=0)
    f1 = 2 * hits / (found.sum(axis=0) + positive.sum())
    return float(f1.max()), float(thresholds[f1.argmax()])
