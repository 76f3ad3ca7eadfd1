"""The window of a recording is that of its steps."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_ros.prediction.window import SignalWindow, recording_windows
from salus_ros.signals.layout import SIGNALS, SignalVector


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_a_recording_equals_its_steps(count, steps, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, SIGNALS)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    valid = rng.integers(0, 4096, count).astype(np.uint16)
    whole = recording_windows(values, valid, steps)
    window = SignalWindow(steps)
    for t in range(count):
        window.add(SignalVector(values[t], int(valid[t])))
        for one, all_of_them in zip(window.contents(), whole, strict=True):
            np.testing.assert_array_equal(one, all_of_them[t])
    assert np.isfinite(whole[0]).all()
