"""Rates, ROC curves and their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from salus_ros.interfaces import FloatArray

LEVEL = 0.95
REPLICATES = 2000
# Halvings of [0, 1] in the search for a bound.
_HALVINGS = 60

Interval = tuple[float, float]


def rate_interval(hits: int, count: int, level: float = LEVEL) -> Interval:
    """Exact (Clopper-Pearson) interval of a share, hits of count, by default at 95 %."""
    if count == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else _solve(lambda p: 1 - _at_most(hits - 1, count, p), tail)
    high = 1.0 if hits == count else _solve(lambda p: 1 - _at_most(hits, count, p), 1 - tail)
    return low, high


def _solve(rising: Callable[[float], float], value: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return (low + high) / 2


def _at_most(hits: int, count: int, p: float) -> float:
    """Probability of at most `hits` of `count` at share p in (0, 1)."""
    terms = (
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * math.log(p)
        + (count - k) * math.log1p(-p)
        for k in range(hits + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def wins(faults: FloatArray, normal: FloatArray) -> FloatArray:
    """[faults, normal]: 1 where a fault scores higher, 0.5 where both are alike, else 0.

    faults [f] or [f, n], scored by the model that also scored normal row n; normal [n].
    """
    if faults.ndim == 1:
        faults = faults[:, None]
    higher: FloatArray = (faults > normal) + 0.5 * (faults == normal)
    return higher


def auc(won: FloatArray) -> float:
    """Area under the ROC curve from `wins`: that a fault scores higher than a normal row."""
    return float(won.mean())


def auc_interval(won: FloatArray, seed: int = 0) -> Interval:
    """95 % bootstrap percentile interval, faults and normal rows each drawn anew."""
    rng = np.random.default_rng(seed)
    faults, normals = won.shape
    # How often each one is drawn, as shares.
    a = rng.multinomial(faults, np.full(faults, 1 / faults), REPLICATES) / faults
    b = rng.multinomial(normals, np.full(normals, 1 / normals), REPLICATES) / normals
    areas = np.einsum("rf,rf->r", a, b @ won.T)
    low, high = np.quantile(areas, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Sums of shares end a rounding beside 1.
    return min(float(low), 1.0), min(float(high), 1.0)


def median_interval(values: FloatArray, seed: int = 0) -> Interval:
    """95 % bootstrap percentile interval of the median of values [n], n >= 1."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(values, (REPLICATES, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def roc(faults: FloatArray, normal: FloatArray) -> tuple[list[float], list[float]]:
    """False-positive and detection rate over all thresholds, from (0, 0) to (1, 1)."""
    thresholds = np.concatenate([[np.inf], np.sort(np.unique(normal))[::-1], [-np.inf]])
    false = [float((normal > t).mean()) for t in thresholds]
    hit = [float((faults > t).mean()) for t in thresholds]
    return [*false[:-1], 1.0], [*hit[:-1], 1.0]
