"""Images for the network: areas are averaged, whatever the size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from salus_ros.policy.flow.images import scaled


def test_each_pixel_is_the_mean_over_its_area():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    expected = image.reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(scaled(image, 16).astype(float) - expected).max() <= 0.5
    assert np.array_equal(scaled(image, 32), image)


@settings(max_examples=30, deadline=None)
@given(side=st.integers(16, 90), extra=st.integers(0, 20), shade=st.integers(0, 255))
def test_an_even_image_stays_even_at_any_size(side, extra, shade):
    image = np.full((side, side + extra, 3), shade, np.uint8)
    assert np.array_equal(scaled(image, 16), np.full((16, 16, 3), shade))


@settings(max_examples=30, deadline=None)
@given(side=st.integers(16, 70), seed=st.integers(0, 100))
def test_the_mean_stays_the_mean(side, seed):
    image = np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)
    assert scaled(image, 16).mean() == pytest.approx(image.mean(), abs=1.0)


def test_a_spot_stays_where_it_is():
    """Whatever the camera's resolution, the same scene gives the same picture."""
    places = []
    for side in (64, 96, 100, 128):
        image = np.zeros((side, side, 3), np.uint8)
        low, high = round(0.25 * side), round(0.5 * side)
        image[low:high, low:high] = 255
        weights = scaled(image, 16)[..., 0].astype(float)
        places.append((weights * np.arange(16)).sum() / weights.sum())
    assert np.ptp(places) < 0.05
