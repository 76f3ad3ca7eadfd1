"""Entropy of the action distribution: 0 for certainty wherever it lies, more for spread."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.signals.distribution import distribution_of_logits, distribution_of_samples
from salus_ros.signals.layout import SignalError

LOW, HIGH = np.array([-1.0, 0.0]), np.array([1.0, 0.08])


def spread(scale, count=8, seed=0):
    rng = np.random.default_rng(seed)
    middle = LOW + (HIGH - LOW) * 15.5 / 32  # The centre of a bin.
    return middle + scale * (HIGH - LOW) * rng.uniform(-0.5, 0.5, size=(count, 5, 2))


@pytest.mark.parametrize("place", [0.0, 0.001, 0.013, 0.5, 0.516, 0.77, 1.0, 1.5, -3.0])
def test_identical_samples_are_certain_wherever_they_lie(place):
    samples = np.tile(LOW + place * (HIGH - LOW), (8, 4, 1))
    result = distribution_of_samples(samples, LOW, HIGH)
    assert result.samples == 8
    assert result.softmax_entropy == pytest.approx(0.0, abs=1e-12)
    assert result.max_softmax_prob > 0.4


def test_entropy_rises_and_the_largest_probability_falls_with_spread():
    results = [distribution_of_samples(spread(s), LOW, HIGH) for s in (0.0, 0.05, 0.2, 0.6, 1.0)]
    entropies = [r.softmax_entropy for r in results]
    assert entropies == sorted(entropies) and entropies[-1] > 0.5
    largest = [r.max_softmax_prob for r in results]
    assert largest == sorted(largest, reverse=True)


def test_samples_all_over_the_range_reach_one():
    samples = np.tile(np.linspace(0, 1, 4000)[:, None, None], (1, 1, 2)) * (HIGH - LOW) + LOW
    result = distribution_of_samples(samples, LOW, HIGH)
    assert result.softmax_entropy == pytest.approx(1.0, abs=0.01)
    assert result.max_softmax_prob == pytest.approx(1 / 32, rel=0.3)


def test_one_sample_is_no_distribution():
    assert distribution_of_samples(spread(0.5, count=1), LOW, HIGH).samples == 1


def test_a_sample_that_is_not_finite_gives_none():
    samples = spread(0.5)
    samples[3, 2, 1] = np.nan
    assert distribution_of_samples(samples, LOW, HIGH) is None


def test_samples_that_do_not_fit_the_range_are_refused():
    with pytest.raises(SignalError, match="2 values"):
        distribution_of_samples(spread(1.0), LOW[:1], HIGH[:1])
    with pytest.raises(SignalError, match="low must be below high"):
        distribution_of_samples(spread(1.0), LOW, LOW)
    with pytest.raises(SignalError, match=r"\[K, steps, dims\]"):
        distribution_of_samples(np.zeros((0, 3, 2)), LOW, HIGH)


def test_logits_softmax_over_the_bins_of_each_dimension():
    logits = np.log(np.array([[[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]]])) + 1000.0
    result = distribution_of_logits(logits)
    h = -(0.7 * np.log(0.7) + 0.3 * np.log(0.1)) / np.log(4)
    assert result.softmax_entropy == pytest.approx((h + 1.0) / 2)
    assert result.max_softmax_prob == pytest.approx((0.7 + 0.25) / 2)


def test_logits_of_impossible_and_of_unknown_bins():
    sure = np.array([[[0.0, -np.inf, -np.inf]]])
    assert distribution_of_logits(sure).softmax_entropy == 0.0
    assert distribution_of_logits(sure).max_softmax_prob == 1.0
    assert distribution_of_logits(np.full((1, 1, 3), np.nan)) is None
    assert distribution_of_logits(np.array([[[0.0, np.inf]]])) is None
    with pytest.raises(SignalError, match="bins >= 2"):
        distribution_of_logits(np.zeros((3, 2, 1)))
