"""How sure it is that a setting's error stays small: fixed-sequence testing over episodes.

Learn then Test (Angelopoulos et al., arXiv 2110.01052): settings in an order that was chosen on
other data, from the most careful on; each null hypothesis "more than a share alpha of episodes has
an error above epsilon" gets an exact binomial p-value; testing goes on as long as p <= delta, so
that the chance of ever certifying a setting that doesn't hold is at most delta, without correction
for the number of settings. Episodes, not chunks, are the units: chunks of an episode are alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray

ALPHA, EPSILON, DELTA = 0.1, 0.05, 0.1


@dataclass(frozen=True, slots=True)
class Certificate:
    """Of one setting: episodes, how many are above epsilon, the p-value, and whether it passes.

    bound: the upper bound on the share of episodes above epsilon that holds with 1 - delta.
    """

    episodes: int
    above: int
    p_value: float
    bound: float
    passes: bool


def episode_errors(errors: FloatArray, episodes: NDArray[np.int64]) -> FloatArray:
    """Mean error of each episode, in the order of their numbers; errors [n], episodes [n]."""
    numbers = np.unique(episodes)
    return np.array([errors[episodes == number].mean() for number in numbers])


def certificate(
    errors: FloatArray, alpha: float = ALPHA, epsilon: float = EPSILON, delta: float = DELTA
) -> Certificate:
    """Test one setting by the errors of independent episodes [n]."""
    if not len(errors) or not np.isfinite(errors).all():
        raise ValueError(f"{len(errors)} episodes with finite errors: at least 1 is needed")
    count, above = len(errors), int((errors > epsilon).sum())
    p = at_most(above, count, alpha)
    return Certificate(count, above, p, upper_bound(above, count, delta), p <= delta)


def fixed_sequence(settings: Iterable[tuple[str, FloatArray]]) -> Iterator[tuple[str, Certificate]]:
    """Test settings in their order until one fails; the last that passes is the choice."""
    for name, errors in settings:
        found = certificate(errors)
        yield name, found
        if not found.passes:
            return


def at_most(hits: int, count: int, share: float) -> float:
    """Probability of at most `hits` of `count` where each comes with this probability."""
    if share <= 0.0:
        return 1.0
    if share >= 1.0:
        return float(hits >= count)
    k = np.arange(count + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((count - k[:-1]) / (k[:-1] + 1)))])
    terms = np.exp(log_choose + k * np.log(share) + (count - k) * np.log1p(-share))
    return float(min(1.0, terms[: hits + 1].sum()))


def upper_bound(hits: int, count: int, delta: float) -> float:
    """Clopper-Pearson: the share that `hits` of `count` exclude anything above, with 1 - delta."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(hits, count, middle) > delta else (low, middle)
    return high
