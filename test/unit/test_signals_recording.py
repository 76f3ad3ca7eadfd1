"""Whole recordings and batches: what their equality with the steps does not show."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.interfaces import ActionDistribution
from salus_ros.signals.batch import BatchSignalExtractor
from salus_ros.signals.calibration import Calibration, fit_latents
from salus_ros.signals.config import SignalConfig
from salus_ros.signals.layout import ENTROPY, SIGNALS, SignalError
from salus_ros.signals.recording import Recording, recording_signals


def test_actions_alone_give_the_action_signals():
    values, valid = recording_signals(SignalConfig(2), Recording(np.ones((5, 2))))
    assert values.shape == (5, SIGNALS) and values.dtype == np.float32
    assert valid.tolist() == [0b10, 0b1011, 0b1111, 0b1000_0000_1111, 0b1000_0000_1111]


def test_an_empty_recording_has_no_signals():
    values, valid = recording_signals(SignalConfig(2), Recording(np.empty((0, 2))))
    assert values.shape == (0, SIGNALS) and valid.shape == (0,)


@pytest.mark.parametrize(
    ("recording", "says"),
    [
        (Recording(np.zeros((5, 3))), r"\[steps, 2\]"),
        (Recording(np.zeros((5, 2)), joints=np.zeros((4, 7))), "joints has 4 steps"),
        (Recording(np.zeros((5, 2)), resets=np.zeros(6, bool)), "resets has 6 steps"),
        (
            Recording(np.zeros((2, 2)), np.array([0, 3]), latents=np.zeros((2, 4))),
            "latents has 2 chunks",
        ),
        (
            Recording(np.zeros((2, 2)), np.array([0, 1]), distributions=(None,)),
            "distributions has 1 chunks",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(recording, says):
    with pytest.raises(SignalError, match=says):
        recording_signals(SignalConfig(2), recording)


def test_chunks_are_held_until_the_next():
    dists = (ActionDistribution(8, 0.1, 0.9), ActionDistribution(8, 0.4, 0.6))
    recording = Recording(np.zeros((5, 1)), np.array([-1, 0, 0, 1, 1]), distributions=dists)
    values, _ = recording_signals(SignalConfig(1), recording)
    assert values[:, ENTROPY] == pytest.approx([0.0, 0.1, 0.1, 0.4, 0.4])


def test_in_a_batch_a_reset_and_a_chunk_touch_only_their_streams():
    batch = BatchSignalExtractor(SignalConfig(1), streams=2, latent_width=2)
    batch.on_chunks(np.ones((2, 2)), np.array([0.1, 0.2]), np.array([0.9, 0.8]))
    batch.step(np.zeros((2, 1)))
    batch.on_chunks(
        3 * np.ones((2, 2)),
        np.array([0.3, 0.4]),
        np.array([0.7, 0.6]),
        which=np.array([True, False]),
    )
    values, valid = batch.step(np.ones((2, 1)))
    assert values[:, ENTROPY] == pytest.approx([0.3, 0.2])
    assert valid.tolist() == [0b0001_1011_1011, 0b0001_1000_1011]
    batch.reset(np.array([True, False]))
    _, valid = batch.step(np.ones((2, 1)))
    assert valid.tolist() == [0b10, 0b0001_1000_1111]
    batch.reset()
    _, valid = batch.step(np.ones((2, 1)))
    assert valid.tolist() == [0b10, 0b10]


def test_batches_that_do_not_fit_are_refused():
    calibration = Calibration("p", *fit_latents(np.random.default_rng(0).normal(size=(20, 4)), 2))
    with pytest.raises(SignalError, match="4 latent values, 6 are needed"):
        BatchSignalExtractor(SignalConfig(1), 2, latent_width=6, calibration=calibration)
    batch = BatchSignalExtractor(SignalConfig(1), 2, latent_width=4)
    with pytest.raises(SignalError, match=r"\(2, 4\) is needed"):
        batch.on_chunks(np.zeros((2, 5)))
    with pytest.raises(SignalError, match=r"\(2, 1\) is needed"):
        batch.step(np.zeros((3, 1)))
