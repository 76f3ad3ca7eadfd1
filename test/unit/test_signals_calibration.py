"""Calibration: what is usual scores about 1, files travel, the wrong ones are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from salus_ros.signals.calibration import (
    Calibration,
    fit_latents,
    load_calibration,
    shrunk_variances,
)
from salus_ros.signals.config import SignalConfig
from salus_ros.signals.extractor import SignalExtractor
from salus_ros.signals.layout import OOD_DISTANCE, SignalError, has


def latents(count, seed=0, width=40):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) * np.linspace(3.0, 0.1, width) + 5.0


def distance(calibration, h):
    extractor = SignalExtractor(SignalConfig(action_dims=1), calibration)
    extractor.on_chunk(h, None)
    vector = extractor.step(np.zeros(1))
    return float(vector.values[OOD_DISTANCE]) if has(vector.valid, OOD_DISTANCE) else None


@pytest.fixture
def calibration():
    return Calibration(
        "panda",
        *fit_latents(latents(400), components=8),
        lag_seconds=np.full(7, 0.03),
        action_low=-np.ones(8),
        action_high=np.ones(8),
    )


def test_usual_latents_score_about_one_and_strange_ones_far_more(calibration):
    usual = [distance(calibration, h) for h in latents(200, seed=1)]
    assert np.sqrt(np.mean(np.square(usual))) == pytest.approx(1.0, abs=0.1)
    strange = latents(1, seed=2)[0]
    strange[0] += 30.0  # Ten deviations along the first axis: 10 / sqrt(8).
    assert distance(calibration, strange) > 3.0


def test_distance_is_the_mahalanobis_distance_on_the_leading_components():
    data = latents(300)
    mean, whitening = fit_latents(data, components=5)
    centred = data - data.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:5]
    scores = centred @ axes.T
    covariance = np.diag(shrunk_variances(scores))
    h = latents(1, seed=3)[0]
    z = axes @ (h - data.mean(axis=0))
    expected = np.sqrt(z @ np.linalg.inv(covariance) @ z / 5)
    assert np.linalg.norm((h - mean) @ whitening) == pytest.approx(expected, rel=1e-9)


def test_shrinkage_is_that_of_ledoit_and_wolf():
    scores = latents(30, width=6) - 5.0
    scores -= scores.mean(axis=0)
    n, k = scores.shape
    s = scores.T @ scores / n
    mu = np.trace(s) / k
    d2 = np.sum((s - mu * np.eye(k)) ** 2) / k
    b2 = min(d2, sum(np.sum((np.outer(x, x) - s) ** 2) / k for x in scores) / n**2)
    expected = (b2 / d2) * mu + (1 - b2 / d2) * np.diag(s)
    assert shrunk_variances(scores) == pytest.approx(expected, rel=1e-9)
    assert 0.0 < b2 / d2 < 1.0


def test_fewer_samples_than_dimensions_still_calibrate():
    mean, whitening = fit_latents(latents(12, width=960), components=32)
    assert mean.shape == (960,) and whitening.shape == (960, 11)
    assert np.isfinite(whitening).all()


def test_a_calibration_travels_in_a_file(tmp_path, calibration):
    path = tmp_path / "panda.calibration"
    calibration.save(path)
    loaded = load_calibration(path)
    assert loaded.robot == "panda"
    for name in ("latent_mean", "latent_whitening", "lag_seconds", "action_low", "action_high"):
        assert np.array_equal(getattr(loaded, name), getattr(calibration, name))
    loaded.require("panda", action_dims=8, joints=7, latent_width=40)
    h = latents(1, seed=9)[0]
    assert distance(loaded, h) == distance(calibration, h)


@pytest.mark.parametrize(
    ("robot", "dims", "joints", "width", "says"),
    [
        ("fr3", 8, 7, 40, "of robot 'panda', not 'fr3'"),
        ("panda", 7, 7, 40, "8 action dimensions, 7 are needed"),
        ("panda", 8, 6, 40, "7 joints, 6 are needed"),
        ("panda", 8, 7, 960, "40 latent values, 960 are needed"),
    ],
)
def test_another_robot_or_policy_is_refused(calibration, robot, dims, joints, width, says):
    with pytest.raises(SignalError, match=says) as error:
        calibration.require(robot, dims, joints, width)
    assert "\n" not in str(error.value)


def test_a_latent_of_another_width_is_invalid_and_said(calibration):
    extractor = SignalExtractor(SignalConfig(action_dims=1), calibration)
    extractor.on_chunk(np.ones(7), None)
    assert not has(extractor.step(np.zeros(1)).valid, OOD_DISTANCE)
    assert "7 values, the calibration 40" in extractor.problem


def write(path, **changes):
    arrays = {
        name: np.zeros(0)
        for name in (
            "latent_mean",
            "latent_whitening",
            "lag_seconds",
            "action_low",
            "action_high",
        )
    }
    metadata = {
        "kind": "salus-signal-calibration",
        "layout_version": 1,
        "robot": "panda",
        "shapes": {name: [0] for name in arrays},
    }
    metadata.update(changes.pop("metadata", {}))
    arrays.update(changes)
    np.savez(path, metadata=np.array(json.dumps(metadata)), **arrays)


def test_unusable_files_are_refused_in_one_line(tmp_path):
    path = tmp_path / "c.npz"
    write(path)
    load_calibration(path)
    for broken in (
        {"metadata": {"layout_version": 18}},
        {"metadata": {"kind": "policy"}},
        {"lag_seconds": np.array([np.nan])},
        {"lag_seconds": np.zeros(3)},
        {"lag_seconds": np.array([{"a": 1}], dtype=object)},
    ):
        write(path, **broken)
        with pytest.raises(SignalError) as error:
            load_calibration(path)
        assert "\n" not in str(error.value)
        assert "calibrate again" in str(error.value)
    for content in (b"", b"not a file", b"PK\x03\x04broken"):
        path.write_bytes(content)
        with pytest.raises(SignalError, match="calibrate again"):
            load_calibration(path)
    with pytest.raises(SignalError, match="no such calibration"):
        load_calibration(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((9, 4)),
        np.zeros((50, 4)),
        np.zeros(50),
        np.where(np.eye(20) > 0, np.nan, 1.0),
    ],
)
def test_latents_that_tell_nothing_are_refused(data):
    with pytest.raises(SignalError):
        fit_latents(data)
