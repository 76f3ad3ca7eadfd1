"""Each signal against its definition, written out as plainly as possible."""

from __future__ import annotations

import math

import numpy as np
import pytest

from salus_ros.interfaces import ActionDistribution
from salus_ros.signals.config import Normalisation, SignalConfig
from salus_ros.signals.extractor import SignalExtractor
from salus_ros.signals.layout import ALL_VALID, SIGNAL_NAMES, SignalError, check_width, has

CERTAIN = ActionDistribution(8, 0.25, 0.75)


def named(vector):
    """The valid signals by name."""
    return {
        name: float(vector.values[i]) for i, name in enumerate(SIGNAL_NAMES) if has(vector.valid, i)
    }


def test_action_signals_follow_their_definitions():
    actions = np.random.default_rng(0).normal(size=(30, 3))
    extractor = SignalExtractor(SignalConfig(action_dims=3))
    steps = [named(extractor.step(a)) for a in actions]
    v = [np.linalg.norm(actions[t] - actions[t - 1]) for t in range(1, 30)]
    t = 25
    bend = actions[t] - 2 * actions[t - 1] + actions[t - 2]
    assert steps[t] == pytest.approx(
        {
            "action_volatility": v[t - 1],
            "action_magnitude": np.linalg.norm(actions[t]),
            "action_acceleration": np.linalg.norm(bend),
            "trajectory_divergence": np.linalg.norm(actions[t] - actions[t - 10 : t].mean(axis=0)),
            "temporal_consistency": np.std(v[t - 10 : t]),
        },
        rel=1e-6,
    )


def test_each_signal_waits_for_the_history_that_it_needs():
    extractor = SignalExtractor(SignalConfig(action_dims=2))
    first_valid = {}
    for t in range(5):
        for name in named(extractor.step(np.array([t * t, 1.0]))):
            first_valid.setdefault(name, t)
    assert first_valid == {
        "action_magnitude": 0,
        "action_volatility": 1,
        "trajectory_divergence": 1,
        "action_acceleration": 2,
        "temporal_consistency": 3,
    }


def test_what_is_invalid_is_zero_and_its_bit_is_off():
    vector = SignalExtractor(SignalConfig(action_dims=2)).step(np.array([3.0, 4.0]))
    assert vector.valid == 0b10
    assert vector.values.tolist() == [0.0, 5.0] + [0.0] * 10
    assert vector.values.dtype == np.float32


def test_a_step_with_nan_is_invalid_and_history_skips_it():
    extractor = SignalExtractor(SignalConfig(action_dims=2))
    for a in ([0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [4.0, 0.0]):
        extractor.step(np.array(a))
    for bad in (math.nan, math.inf, -math.inf, 1e200):
        assert extractor.step(np.array([bad, 1.0])).valid == 0
    after = named(extractor.step(np.array([7.0, 0.0])))
    assert after["action_volatility"] == pytest.approx(3.0)
    assert after["action_acceleration"] == pytest.approx(1.0)
    assert after["trajectory_divergence"] == pytest.approx(7.0 - 7.0 / 4.0)
    assert after["temporal_consistency"] == pytest.approx(np.std([1.0, 1.0, 2.0, 3.0]))


def test_normalised_units():
    norm = Normalisation.of_range(np.array([0.0, -1.0]), np.array([4.0, 1.0]))
    extractor = SignalExtractor(SignalConfig(action_dims=2, normalisation=norm))
    assert named(extractor.step(np.array([4.0, 1.0])))["action_magnitude"] == pytest.approx(2**0.5)
    norm = Normalisation.of_mean_std(np.array([1.0, 1.0]), np.array([2.0, 0.5]))
    extractor = SignalExtractor(SignalConfig(action_dims=2, normalisation=norm))
    assert named(extractor.step(np.array([7.0, 3.0])))["action_magnitude"] == pytest.approx(5.0)


def test_latent_signals_change_once_per_chunk_and_are_held_between():
    extractor = SignalExtractor(SignalConfig(action_dims=1))
    a = np.zeros(1)
    extractor.on_chunk(np.array([3.0, 4.0], np.float32), CERTAIN)
    assert named(extractor.step(a)) == {
        "action_magnitude": 0.0,
        "softmax_entropy": 0.25,
        "max_softmax_prob": 0.75,
    }
    extractor.on_chunk(np.array([6.0, 8.0], np.float32), None)
    for _ in range(3):
        held = named(extractor.step(a))
        assert held["latent_drift"] == pytest.approx(5.0)
        assert held["latent_norm_spike"] == pytest.approx(10.0 / 5.0)
        assert "softmax_entropy" not in held
    extractor.on_chunk(np.array([0.0, 11.0], np.float32), None)
    # The average was 5, then moved a tenth of the way to 10; it does not hold 11 yet.
    assert named(extractor.step(a))["latent_norm_spike"] == pytest.approx(11.0 / 5.5)


def test_running_distance_excludes_the_present_latent():
    rng = np.random.default_rng(1)
    usual = rng.normal(size=(50, 20))
    extractor = SignalExtractor(SignalConfig(action_dims=1))
    for h in usual:
        extractor.on_chunk(h, None)
    strange = usual[0] + 8.0
    variance = usual.var(axis=0)
    shrunk = 0.9 * variance + 0.1 * variance.mean()
    expected = np.sqrt(((strange - usual.mean(axis=0)) ** 2 / shrunk).mean())
    extractor.on_chunk(strange, None)
    distance = named(extractor.step(np.zeros(1)))["ood_distance"]
    assert distance == pytest.approx(expected, rel=1e-6)
    assert distance > 5.0


def test_a_frozen_latent_has_no_distance_rather_than_an_infinite_one():
    extractor = SignalExtractor(SignalConfig(action_dims=1))
    for _ in range(5):
        extractor.on_chunk(np.ones(4), None)
        assert "ood_distance" not in named(extractor.step(np.zeros(1)))


@pytest.mark.parametrize("bad", [np.full(4, np.nan), np.full(4, np.inf), np.empty(0), None])
def test_a_chunk_without_a_usable_latent_is_invalid_and_history_skips_it(bad):
    extractor = SignalExtractor(SignalConfig(action_dims=1))
    for h in (np.ones(4), 2 * np.ones(4), bad):
        extractor.on_chunk(h, None)
    assert "latent_drift" not in named(extractor.step(np.zeros(1)))
    assert "latent_norm_spike" not in named(extractor.step(np.zeros(1)))
    extractor.on_chunk(4 * np.ones(4), None)
    assert named(extractor.step(np.zeros(1)))["latent_drift"] == pytest.approx(4.0)


@pytest.mark.parametrize(
    "distribution",
    [
        None,
        ActionDistribution(0, 0.0, 0.0),
        ActionDistribution(1, 0.5, 0.5),
        ActionDistribution(8, math.nan, math.nan),
        ActionDistribution(8, 1.5, -0.1),
    ],
)
def test_no_distribution_no_uncertainty(distribution):
    extractor = SignalExtractor(SignalConfig(action_dims=1))
    extractor.on_chunk(None, distribution)
    assert set(named(extractor.step(np.zeros(1)))) == {"action_magnitude"}


def test_joint_signals():
    config = SignalConfig(
        action_dims=1, joint_low=np.array([-1.0, -2.0]), joint_high=np.array([1.0, 2.0])
    )
    extractor = SignalExtractor(config)

    def joints(q, predicted=None):
        signals = named(extractor.step(np.zeros(1), q, predicted))
        return signals.get("execution_mismatch"), signals.get("constraint_margin")

    assert joints(np.array([0.0, 0.0]), np.array([0.3, 0.4])) == pytest.approx((0.5, 0.0))
    assert joints(np.array([0.9, 0.0])) == (None, pytest.approx(0.4))
    assert joints(np.array([1.0, 0.0])) == (None, pytest.approx(0.5))
    assert joints(np.array([0.0, -2.2])) == (None, pytest.approx(0.7))
    assert joints(np.array([0.0, np.nan]), np.zeros(2)) == (None, None)
    assert joints(np.zeros(2), np.array([0.0, np.inf])) == (None, 0.0)
    assert joints(None) == (None, None)


@pytest.mark.parametrize("change", ["source", "instruction", "reset"])
def test_history_begins_anew(change):
    extractor = SignalExtractor(SignalConfig(action_dims=1))
    for t in range(5):
        extractor.on_chunk(np.array([1.0, t]), CERTAIN, "a", "pick")
        extractor.step(np.array([float(t)]))
    if change == "reset":
        extractor.reset()
        assert set(named(extractor.step(np.zeros(1)))) == {"action_magnitude"}
        return
    origin = ("b", "pick") if change == "source" else ("a", "reach")
    extractor.on_chunk(np.array([1.0, 2.0]), CERTAIN, *origin)
    assert set(named(extractor.step(np.zeros(1)))) == {
        "action_magnitude",
        "softmax_entropy",
        "max_softmax_prob",
    }


def test_all_twelve_are_valid_when_everything_is_there():
    config = SignalConfig(action_dims=2, joint_low=-np.ones(2), joint_high=np.ones(2))
    extractor = SignalExtractor(config)
    rng = np.random.default_rng(2)
    for _ in range(4):
        extractor.on_chunk(rng.normal(size=16), CERTAIN)
        vector = extractor.step(rng.normal(size=2), np.zeros(2), np.zeros(2))
    assert vector.valid == ALL_VALID


def test_the_present_vector_does_not_change_with_the_next_step():
    extractor = SignalExtractor(SignalConfig(action_dims=1))
    action = np.array([2.0])
    first = extractor.step(action)
    action[0] = 5.0  # The caller's buffer is not the history.
    second = named(extractor.step(action))
    assert second["action_volatility"] == pytest.approx(3.0)
    assert first.values[1] == pytest.approx(2.0)


def test_wrong_shapes_are_refused_in_one_line():
    config = SignalConfig(action_dims=2, joint_low=-np.ones(2), joint_high=np.ones(2))
    extractor = SignalExtractor(config)
    with pytest.raises(SignalError, match="2 values"):
        extractor.step(np.zeros(3))
    with pytest.raises(SignalError, match="joint limits are 2"):
        extractor.step(np.zeros(2), np.zeros(3))
    with pytest.raises(SignalError, match="predicted joints are 3"):
        extractor.step(np.zeros(2), np.zeros(2), np.zeros(3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SignalConfig(action_dims=0),
        lambda: SignalConfig(action_dims=1, window=2),
        lambda: SignalConfig(action_dims=1, ema=0.0),
        lambda: SignalConfig(action_dims=1, joint_low=np.zeros(1)),
        lambda: SignalConfig(action_dims=1, joint_low=np.ones(1), joint_high=np.zeros(1)),
        lambda: Normalisation.of_mean_std(np.zeros(2), np.array([1.0, 0.0])),
        lambda: Normalisation.of_mean_std(np.array([math.nan]), np.ones(1)),
        lambda: SignalConfig(
            action_dims=3, normalisation=Normalisation.of_mean_std(np.zeros(2), np.ones(2))
        ),
    ],
)
def test_a_bad_configuration_is_refused(make):
    with pytest.raises(SignalError):
        make()


def test_the_old_layout_is_refused_with_what_to_do():
    with pytest.raises(SignalError, match="18-value layout.*record again"):
        check_width(18, "data.mcap")
    with pytest.raises(SignalError, match="has 7 signals"):
        check_width(7, "data.mcap")
    check_width(12, "data.mcap")
