"""The causal window, and what is said without a model."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.prediction.layout import FAILURE_TYPES, HORIZONS
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.prediction.window import SignalWindow, recording_windows
from salus_ros.signals.layout import ALL_VALID, SIGNALS, SignalError, SignalVector


def vector(value, valid=ALL_VALID):
    return SignalVector(np.full(SIGNALS, value, np.float32), valid)


def test_the_newest_step_is_last_and_there_is_no_history_before_the_first():
    window = SignalWindow(4)
    window.add(vector(1.0))
    window.add(vector(2.0, valid=0b101))
    values, valid = window.contents()
    assert values.shape == valid.shape == (4, SIGNALS)
    assert values[:, 0].tolist() == [0.0, 0.0, 1.0, 2.0]
    assert valid[:, 0].tolist() == [False, False, True, True]
    assert valid[3].nonzero()[0].tolist() == [0, 2]
    assert values[3, 1] == 0.0


def test_old_steps_leave():
    window = SignalWindow(3)
    for k in range(1, 9):
        window.add(vector(float(k)))
    assert window.contents()[0][:, 5].tolist() == [6.0, 7.0, 8.0]


def test_reset_and_a_new_source_begin_anew():
    window = SignalWindow(3)
    window.add(vector(1.0), "a")
    window.add(vector(2.0), "b")
    assert window.contents()[0][:, 0].tolist() == [0.0, 0.0, 2.0]
    window.reset()
    assert not window.contents()[1].any()


def test_what_is_handed_out_is_a_copy():
    window = SignalWindow(2)
    window.add(vector(1.0))
    window.contents()[0][:] = 9.0
    assert window.contents()[0].max() == 1.0


def test_a_number_that_is_not_finite_is_invalid_whatever_its_bit_says():
    window = SignalWindow(2)
    bad = vector(1.0)
    bad.values[3] = np.nan
    window.add(bad)
    values, valid = window.contents()
    assert np.isfinite(values).all() and not valid[1, 3] and valid[1, 4]


@pytest.mark.parametrize("width", [18, 11])
def test_another_layout_is_refused(width):
    with pytest.raises(SignalError, match="record again"):
        SignalWindow(3).add(SignalVector(np.zeros(width, np.float32), 0))
    with pytest.raises(SignalError, match="record again"):
        recording_windows(np.zeros((5, width), np.float32), np.zeros(5, np.uint16), 3)


def test_windows_and_bits_that_do_not_fit_are_refused():
    with pytest.raises(SignalError, match="at least 1"):
        SignalWindow(0)
    with pytest.raises(SignalError, match="4 validity bits"):
        recording_windows(np.zeros((5, SIGNALS), np.float32), np.zeros(4, np.uint16), 3)


def test_without_a_model_every_prediction_is_invalid_and_names_its_step():
    predictor = FailurePredictor()
    for k in range(6):
        result = predictor.on_signals("a", 3, k, 1234, vector(float(k)))
    assert (result.source_id, result.chunk_number, result.step) == ("a", 3, 5)
    assert result.observation_stamp == 1234
    assert result.valid is False and result.alarm is False
    assert result.horizons == HORIZONS == (0.2, 0.333, 0.433, 0.533)
    assert result.failure_types == FAILURE_TYPES == ("collision", "drop", "miss", "timeout")
    assert result.probabilities.shape == (4, 4) and not result.probabilities.any()
    assert result.episode_failure_probability == result.episode_score == 0.0
    # The window is kept all the same.
    assert predictor.window.contents()[0][-1, 0] == 5.0
    predictor.reset()
    assert not predictor.window.contents()[1].any()
