"""When timeouts begin: what the clock says of them, and of nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prediction_episodes import PERIOD, made_up
from test_prediction_model import random_model, stream

from salus_ros.prediction import fitting
from salus_ros.prediction.deadlines import TIMEOUT, Deadlines, fit_deadlines
from salus_ros.prediction.layout import HORIZONS
from salus_ros.prediction.model import score_episode
from salus_ros.prediction.network import NetworkConfig
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.prediction.splits import Splits
from salus_ros.prediction.training import TrainingConfig


def test_shares_of_a_worked_example():
    deadlines = Deadlines(np.array([1.0, 1.0, 2.0]))
    shares = deadlines.shares(np.array([0.0, 0.9, 1.0, 5.0]), (0.2, 1.0))
    # Of three and one more, which may begin at any time up to 2 s.
    expected = [[0.1 / 4, 2.5 / 4], [2.1 / 4, 2.5 / 4], [0.1 / 2, 1.5 / 2], [0.1, 0.5]]
    np.testing.assert_allclose(shares, expected)


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=20),
    st.lists(st.floats(0, 200), min_size=1, max_size=20),
)
def test_shares_are_probabilities_that_never_fall_over_horizons(onsets, elapsed):
    shares = Deadlines(np.sort(onsets)).shares(np.array(elapsed))
    assert shares.shape == (len(elapsed), len(HORIZONS))
    assert ((shares > 0) & (shares <= 1)).all() and (np.diff(shares, axis=1) >= 0).all()


def test_the_clock_moves_timeouts_and_nothing_else():
    model, episode = random_model(), made_up(3, steps=90)
    model = replace(model, deadlines=Deadlines(np.full(9, 2.0)))
    clocked = score_episode(model, episode)
    plain = score_episode(replace(model, deadlines=Deadlines()), episode)
    others = [kind for kind in range(4) if kind != TIMEOUT]
    np.testing.assert_array_equal(
        clocked.probabilities[..., others], plain.probabilities[..., others]
    )
    for name in ("episode", "score", "threshold", "alarm"):
        np.testing.assert_array_equal(getattr(clocked, name), getattr(plain, name))
    # At half the horizon before the onset, long before it, and once it is over.
    near, early, late = (round(t / PERIOD) for t in (1.9, 1.0, 2.5))
    share = clocked.probabilities[:, 0, TIMEOUT] / plain.probabilities[:, 0, TIMEOUT]
    assert share[near] > 2 * share[early] and share[near] > 2 * share[late]


def test_another_source_and_a_reset_begin_the_time_anew():
    model = replace(random_model(), deadlines=Deadlines(np.full(9, 2.0)))
    episode = made_up(3, steps=90)
    whole = [r.probabilities[:, TIMEOUT] for r in stream(model, episode)]
    predictor = FailurePredictor(model)
    for begin in (lambda: None, predictor.reset):
        begin()
        again = [r.probabilities[:, TIMEOUT] for r in stream(model, episode, predictor)]
        np.testing.assert_array_equal(again, whole)


def timeouts(count, first=0, onset=3.0):
    """Failing and succeeding episodes of noise alike: only a clock tells when a timeout begins."""
    found = []
    for i in range(count):
        fails = i % 2 == 0
        told = {"failure_type": "timeout", "onset": onset} if fails else {}
        episode = made_up(first + i, steps=90 if fails else 60)
        # As recorded: the first step is executed one period after the start.
        times = episode.times + PERIOD
        found.append(replace(episode, times=times, success=not fails, **told))
    return tuple(found)


def test_too_few_timeouts_tell_nothing():
    some, few = timeouts(12), timeouts(6)
    assert len(fit_deadlines(some, some).onsets) == 6
    assert not len(fit_deadlines(some, few).onsets) and not len(fit_deadlines(few, some).onsets)
    with pytest.raises(ValueError, match="no onsets"):
        Deadlines().shares(np.zeros(1))


@pytest.fixture(scope="module")
def fitted():
    splits = Splits(timeouts(20), timeouts(8, 100), timeouts(12, 200), timeouts(48, 300))
    network = NetworkConfig(layers=2, hidden=4)
    return fitting.fit(splits, TrainingConfig(network=network, epochs=3), fewest=20).model


def test_a_trained_model_says_when_a_timeout_is_near(fitted):
    for episode in timeouts(6, 400)[::2]:
        count = episode.steps_before_onset
        told = score_episode(fitted, episode).probabilities[:count, :, TIMEOUT]
        ahead = episode.onset - episode.times[:count]
        for h, horizon in enumerate(HORIZONS):
            # The predictor counts executed steps: one step more or less is its resolution.
            near, far = ahead < horizon - PERIOD, ahead > horizon + PERIOD
            assert told[near, h].min() > 0.3 > 3 * told[far, h].max()
