"""Smoothing of chunks: smooth motions stay, noise goes, and what is known is kept."""

from __future__ import annotations

import numpy as np

from salus_ros.policy.flow.smoothing import smoothing_matrices, spline_basis

ROWS = 32
SCALE = np.linspace(0.005, 0.3, ROWS)[:, None]
TIMES = np.arange(-1, ROWS) / 30


def smooth(points: np.ndarray) -> np.ndarray:
    return smoothing_matrices(SCALE)[0] @ points


def minimum_jerk(times: np.ndarray) -> np.ndarray:
    u = np.clip(times / 1.2, 0, 1)
    return 0.5 * u**3 * (10 - 15 * u + 6 * u**2)


def test_the_basis_sums_to_one():
    np.testing.assert_allclose(spline_basis(9, np.linspace(0, 1, 50)).sum(1), 1.0)


def test_straight_lines_and_smooth_motions_stay():
    line = 0.3 + 0.7 * TIMES
    np.testing.assert_allclose(smooth(line), line[1:], atol=1e-9)
    motion = minimum_jerk(TIMES)
    assert np.abs(smooth(motion) - motion[1:]).max() < 2e-3


def test_noise_in_proportion_to_the_scale_goes():
    rng = np.random.default_rng(0)
    noise = np.concatenate([[0.0, 0.0], 0.05 * SCALE[1:, 0] * rng.normal(size=ROWS - 1)])
    motion = minimum_jerk(TIMES)
    before, after = (
        np.abs(np.diff(x, 2)).max() * 900 for x in (motion + noise, smooth(motion + noise))
    )
    wanted = np.abs(np.diff(motion, 2)).max() * 900
    assert before > 10 * wanted and after < 2.5 * wanted


def test_it_goes_on_from_the_known_points():
    motion = minimum_jerk(TIMES) + np.where(TIMES > 0.01, 0.004, 0.0)
    assert np.abs(smooth(motion)[0] - motion[1]) < 4e-4
