"""The budget holds on data that nobody has seen, and too little data are refused."""

import numpy as np
import pytest

from salus_ros.supervision.detectors.conformal import (
    SEQUENCE_SPLIT,
    conformal_threshold,
    required_samples,
    split_budget,
)
from salus_ros.supervision.detectors.errors import DetectorError


@pytest.mark.parametrize(("share", "needed"), [(0.01, 99), (0.005, 199), (0.5, 1), (0.00125, 799)])
def test_a_share_needs_one_over_it_minus_one_samples(share, needed):
    assert required_samples(share) == needed
    conformal_threshold(np.arange(needed, dtype=float), share)
    with pytest.raises(DetectorError, match=rf"at least {needed} .* {needed - 1} are given"):
        conformal_threshold(np.arange(needed - 1, dtype=float), share)


def test_new_scores_are_above_the_threshold_as_often_as_allowed():
    rng = np.random.default_rng(1)
    above = [
        (rng.exponential(size=50) > conformal_threshold(rng.exponential(size=99), 0.05)).mean()
        for _ in range(4000)
    ]
    # 5 of 100 calibration scores may lie at or above a new one: the rate is 0.05 on average.
    assert 0.045 < np.mean(above) <= 0.0515


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(DetectorError, match="not finite"):
        conformal_threshold(np.array([1.0] * 20 + [np.nan]), 0.1)


def test_the_parts_add_up_to_the_budget():
    shares = split_budget(0.01, SEQUENCE_SPLIT)
    assert sum(shares.values()) == pytest.approx(0.01)
    assert shares["step_drift"] >= 0.005


@pytest.mark.parametrize(
    ("budget", "split", "said"),
    [
        (0.0, {"step_drift": 1.0}, "budget 0"),
        (1.0, {"step_drift": 1.0}, "budget 1"),
        (0.01, {"step_drift": 0.4, "frozen": 0.6}, "step_drift gets 0.4"),
        (0.01, {"frozen": 1.0}, "step_drift gets 0 "),
        (0.01, {"step_drift": 0.7, "frozen": 0.2}, "1 in all"),
        (0.01, {"step_drift": 1.2, "frozen": -0.2}, "above 0"),
        (float("nan"), {"step_drift": 1.0}, "nan"),
    ],
)
def test_senseless_budgets_are_refused_with_their_value(budget, split, said):
    with pytest.raises(DetectorError, match=said):
        split_budget(budget, split)
