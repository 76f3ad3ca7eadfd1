"""The curve through a plan's rows."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.supervision.reference import (
    SMOOTHED_DEVIATION,
    SMOOTHING_PASSES,
    Curve,
    CurveLimits,
    control_points,
    demands,
    feasible_points,
)

STEP = 1 / 30
LIMITS = CurveLimits(np.full(2, 1.0), np.full(2, 3.0), np.full(2, 90.0))


def sine_rows(count: int = 30, size: float = 0.2) -> np.ndarray:
    time = np.arange(count) * STEP
    return np.stack((size * np.sin(2 * time), size * np.cos(2 * time)), axis=1)


@pytest.mark.parametrize("passes", SMOOTHING_PASSES)
@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_straight_motion_is_kept_whatever_is_averaged(passes: int, count: int) -> None:
    rows = 0.3 + 0.01 * np.arange(-1.0, count + 1)[:, None] * (count > 1)
    np.testing.assert_allclose(control_points(rows[1:-1], passes), rows, atol=1e-12)


@pytest.mark.parametrize("passes", SMOOTHING_PASSES[1:])
def test_averages_are_those_of_rows_that_go_on_point_reflected(passes: int) -> None:
    rows = np.random.default_rng(passes).normal(size=12)
    for _ in range(passes - 1):
        wide = np.concatenate(([2 * rows[0] - rows[1]], rows, [2 * rows[-1] - rows[-2]]))
        rows = np.convolve(wide, (1 / 6, 4 / 6, 1 / 6), mode="valid")
    wide = np.concatenate(([2 * rows[0] - rows[1]], rows, [2 * rows[-1] - rows[-2]]))
    found = control_points(np.random.default_rng(passes).normal(size=(12, 1)), passes)
    np.testing.assert_allclose(found[:, 0], wide, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 5, 30])
def test_interpolating_curve_goes_through_every_row(count: int) -> None:
    rows = sine_rows(count)
    curve = Curve(control_points(rows, 0), 0.0, STEP)
    for k, row in enumerate(rows):
        np.testing.assert_allclose(curve.at(k * STEP)[0], row, atol=1e-8)
        np.testing.assert_allclose(curve.position(k * STEP), row, atol=1e-8)


def test_curve_is_smooth_and_its_derivatives_are_true() -> None:
    curve = Curve(control_points(sine_rows(), 0), 0.0, STEP)
    tiny = 1e-6
    for time in np.linspace(0.01, 0.9, 60):
        (q0, v0, _), (q1, v1, a1), (q2, v2, _) = (
            curve.at(time + shift) for shift in (-tiny, 0.0, tiny)
        )
        np.testing.assert_allclose((np.array(q2) - q0) / (2 * tiny), v1, atol=1e-5)
        np.testing.assert_allclose((np.array(v2) - v0) / (2 * tiny), a1, atol=1e-3)
        np.testing.assert_allclose(q1, curve.position(time))


def test_curve_reproduces_a_slow_motion_to_a_micrometre() -> None:
    curve = Curve(control_points(sine_rows(), 0), 0.0, STEP)
    for time in np.linspace(0.2, 0.7, 40):
        expected = [0.2 * np.sin(2 * time), 0.2 * np.cos(2 * time)]
        np.testing.assert_allclose(curve.position(time), expected, atol=1e-6)


def test_feasible_plans_are_not_smoothed() -> None:
    points, smoothed = feasible_points(sine_rows(), STEP, LIMITS)
    assert not smoothed
    np.testing.assert_array_equal(points, control_points(sine_rows(), 0))


def test_noise_is_averaged_until_it_is_feasible_and_stays_within_itself() -> None:
    noise = np.random.default_rng(1).uniform(-0.01, 0.01, (30, 2))
    points, smoothed = feasible_points(sine_rows() + noise, STEP, LIMITS)
    assert smoothed
    speed, bend = demands(points, STEP, LIMITS)
    assert max(speed.max(), bend.max()) <= 1
    curve = Curve(points, 0.0, STEP)
    truth = sine_rows()
    strayed = [np.abs(np.array(curve.at(k * STEP)[0]) - truth[k]).max() for k in range(3, 27)]
    assert max(strayed) < SMOOTHED_DEVIATION


def test_only_the_infeasible_joint_is_smoothed() -> None:
    rows = sine_rows()
    rows[::2, 1] += 0.02
    points, smoothed = feasible_points(rows, STEP, LIMITS)
    assert smoothed
    np.testing.assert_array_equal(points[:, 0], control_points(rows, 0)[:, 0])


def test_a_smoothed_curve_stays_inside_the_rows_range() -> None:
    rows = np.random.default_rng(2).uniform(-1, 1, (40, 2))
    for passes in (1, 2, 5):
        points = control_points(rows, passes)[1:-1]
        assert points.min() >= rows.min()
        assert points.max() <= rows.max()


def test_peaks_bound_what_follows() -> None:
    rows = np.random.default_rng(3).uniform(-0.1, 0.1, (20, 2))
    curve = Curve(control_points(rows, 0), 0.0, STEP)
    for time in np.linspace(0, 0.6, 50):
        acceleration, jerk = curve.peaks(time)
        for later in np.linspace(time, min(time + 0.15, curve.end - 1e-9), 10):
            (_, _, a), (_, _, b) = curve.at(later), curve.at(later + 1e-5)
            assert (np.abs(a) <= np.array(acceleration) + 1e-9).all()
            if curve.segment(later)[0] == curve.segment(later + 1e-5)[0]:
                assert (np.abs(np.array(b) - a) / 1e-5 <= np.array(jerk) + 1e-3).all()


def test_times_outside_are_moved_to_the_ends() -> None:
    rows = sine_rows(5)
    curve = Curve(control_points(rows, 0), 1.0, STEP)
    np.testing.assert_allclose(curve.position(-9.0), rows[0], atol=1e-8)
    np.testing.assert_allclose(curve.position(99.0), rows[-1], atol=1e-8)
