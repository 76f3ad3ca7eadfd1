"""Weights, blending, ensembles, resampling, latency: the pure functions behind a plan."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.interfaces import nanoseconds, seconds
from salus_ros.policy.latency import LatencyEstimator
from salus_ros.policy.merging import (
    blend,
    fade_weights,
    fixed_weights,
    presence,
    rtc_weights,
    temporal_ensemble,
)
from salus_ros.policy.resampling import shift_rows
from salus_ros.policy.scheduling import start_time


def test_fixed_shares():
    assert fixed_weights("latest", 3).tolist() == [0.0, 0.0, 0.0]
    assert fixed_weights("weighted", 2).tolist() == [0.3, 0.3]
    assert fixed_weights("conservative", 2).tolist() == [0.7, 0.7]
    mixed = blend(np.array([[1.0]]), np.array([[2.0]]), np.array([0.3]))
    assert mixed == pytest.approx(0.3 * 1.0 + 0.7 * 2.0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("zeros", [1, 1, 0, 0, 0, 0]),
        ("ones", [1, 1, 1, 1, 1, 0]),
        ("linear", [1, 1, 0.75, 0.5, 0.25, 0]),
        ("exp", [1, 1, *(c * (np.exp(c) - 1) / (np.e - 1) for c in (0.75, 0.5, 0.25)), 0]),
    ],
)
def test_rtc_freezes_then_fades(schedule, expected):
    assert rtc_weights(schedule, frozen=2, end=5, overlap=6) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["zeros", "ones", "linear", "exp"])
@pytest.mark.parametrize(
    ("frozen", "end", "overlap"),
    [(0, 0, 0), (5, 3, 4), (-2, 3, 5), (0, 4, 4), (4, 4, 4), (2, -9, 6), (1, 30, 6)],
)
def test_rtc_weights_are_shares_that_never_rise(schedule, frozen, end, overlap):
    weights = rtc_weights(schedule, frozen, end, overlap)
    assert weights.shape == (overlap,)
    assert ((weights >= 0) & (weights <= 1)).all() and (np.diff(weights) <= 0).all()
    assert (weights[: max(0, frozen)] == 1.0).all()


def test_an_ensemble_weighs_each_row_by_the_chunks_that_hold_it():
    always = np.ones(4)
    chunks = [
        (0, np.full((4, 1), 1.0), always),
        (2, np.full((4, 1), 2.0), always),
        (3, np.full((4, 1), 4.0), always),
    ]
    rows = temporal_ensemble(chunks, first=3, last=6, coefficient=0.5)
    w = np.exp(-0.5 * np.arange(3))
    assert rows[:, 0] == pytest.approx(
        [
            (w[0] * 1 + w[1] * 2 + w[2] * 4) / w.sum(),
            (w[0] * 2 + w[1] * 4) / (w[0] + w[1]),
            (w[0] * 2 + w[1] * 4) / (w[0] + w[1]),
            4.0,
        ]
    )


@pytest.mark.parametrize(
    ("frozen", "end", "overlap"),
    [(0, 0, 0), (3, 40, 40), (5, 3, 4), (-2, 3, 5), (2, -9, 6), (1, 30, 6), (0, 12, 30)],
)
def test_what_is_left_of_the_old_plan_fades_without_a_corner(frozen, end, overlap):
    weights = fade_weights(frozen, end, overlap)
    assert weights.shape == (overlap,)
    assert ((weights >= 0) & (weights <= 1)).all() and (np.diff(weights) <= 0).all()
    kept = min(max(0, frozen), overlap)
    assert (weights[:kept] == 1.0).all() and (weights[kept:] < 1.0).all()


def test_a_fade_begins_and_ends_softly():
    weights = fade_weights(frozen=4, end=40, overlap=40)
    bends = np.abs(np.diff(weights, 2))
    assert weights[4] > 0.99 and bends.max() < 0.06 and bends[2:4].max() < 0.04


def test_presence_is_full_in_the_middle_and_never_zero():
    shares = presence(60, entry=5)
    assert (shares > 0).all() and shares[4] < 1e-5 and shares[59] < 0.01
    assert shares[21:44] == pytest.approx(np.ones(23))


def test_shifting_by_nothing_is_an_exact_copy():
    actions = np.random.default_rng(0).normal(size=(6, 2))
    shifted = shift_rows(actions, 0.0)
    assert np.array_equal(shifted, actions) and shifted is not actions


@pytest.mark.parametrize("rows", [2, 3, 4, 9])
@pytest.mark.parametrize("fraction", [1e-9, 0.3, 0.5, 0.999])
def test_shifting_is_exact_for_curves_of_degree_3_and_extrapolates_nothing(rows, fraction):
    degree = min(3, rows - 1)
    curve = np.polynomial.Polynomial([0.3, -1.0, 0.2, 0.05][: degree + 1])
    at = np.arange(rows, dtype=float)
    shifted = shift_rows(curve(at)[:, None], fraction)
    assert shifted[:, 0] == pytest.approx(curve(at[:-1] + fraction))
    assert len(shifted) == rows - 1


def test_a_gripper_that_jumps_is_not_overshot():
    actions = np.zeros((10, 2))
    actions[5:] = 0.08
    shifted = shift_rows(actions, 0.5, linear_columns=1)
    assert shifted[:, 1].min() == 0.0 and shifted[:, 1].max() == 0.08
    assert shifted[4, 1] == pytest.approx(0.04)
    assert shifted[:, 0].max() > 0.08  # Which is what the joints' cubic would do.


def test_latency_is_the_95th_percentile_by_nearest_rank():
    estimator = LatencyEstimator(window=100, warmup=0)
    for k in range(100):
        estimator.add(k + 1)
    assert estimator.estimate() == 95
    assert LatencyEstimator(warmup=0, initial_seconds=0.25).estimate() == nanoseconds(0.25)


def test_of_few_latencies_the_largest_counts():
    estimator = LatencyEstimator(warmup=0)
    for latency in (10, 90, 20):
        estimator.add(latency)
    assert estimator.estimate() == 90


def test_warm_up_is_left_out_and_old_maxima_age_out():
    estimator = LatencyEstimator(window=20, warmup=2, initial_seconds=0.1)
    estimator.add(nanoseconds(30.0))
    estimator.add(nanoseconds(5.0))
    assert not estimator.measured
    assert seconds(estimator.estimate()) == 0.1
    for _ in range(2):
        estimator.add(nanoseconds(1.0))
    for _ in range(18):
        estimator.add(nanoseconds(0.05))
    assert seconds(estimator.estimate()) == 1.0
    for _ in range(2):
        estimator.add(nanoseconds(0.05))
    assert seconds(estimator.estimate()) == 0.05


def test_a_clock_error_is_no_negative_latency():
    estimator = LatencyEstimator(warmup=0)
    estimator.add(-5)
    assert estimator.estimate() == 0


@pytest.mark.parametrize("bad", [{"window": 0}, {"warmup": -1}, {"percentile": 0.0}])
def test_a_bad_estimator_is_refused(bad):
    with pytest.raises(ValueError, match="latency window"):
        LatencyEstimator(**bad)


def test_the_next_inference_starts_for_whichever_ends_first():
    assert start_time(plan_end=1000, horizon_end=600, latency=150, margin=33) == 417
    assert start_time(plan_end=500, horizon_end=600, latency=150, margin=33) == 317
