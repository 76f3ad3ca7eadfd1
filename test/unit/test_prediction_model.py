"""Network, calibration, alarm, checkpoint: from signals to a calibrated prediction."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prediction_episodes import made_up, many

from salus_ros.prediction import alarm, metrics
from salus_ros.prediction.checkpoint import (
    check_unused,
    load_checkpoint,
    load_with_header,
    save_checkpoint,
)
from salus_ros.prediction.deadlines import Deadlines
from salus_ros.prediction.features import Normalisation, fit_normalisation
from salus_ros.prediction.model import FailureModel, score_episode
from salus_ros.prediction.network import Network, NetworkConfig
from salus_ros.prediction.platt import Platt, fit_platt, fit_table, sigmoid
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.prediction.splits import split_episodes
from salus_ros.prediction.whole import RecordedStep, predict_recording
from salus_ros.signals.layout import ALL_VALID, SIGNALS, SignalError, SignalVector

SMALL = NetworkConfig(layers=3, hidden=6)


def random_model(seed=0, members=1, config=SMALL):
    rng = np.random.default_rng(seed)
    weights = {n: rng.normal(0, 0.5, s).astype(np.float32) for n, s in config.shapes().items()}
    masks = (rng.random((members, config.layers, config.hidden)) > 0.3).astype(np.float32)
    return FailureModel(
        network=Network(config, weights, masks),
        normalisation=Normalisation(
            rng.normal(size=SIGNALS).astype(np.float32), np.full(SIGNALS, 0.7, np.float32)
        ),
        table=Platt(rng.uniform(0.3, 2, (4, 4)), rng.normal(size=(4, 4))),
        episode=Platt(np.array([1.3]), np.array([-0.2])),
        band=alarm.Band(np.linspace(-1, 1, 20), 0.05, 0.1, 3, 100),
        robot="panda",
        deadlines=Deadlines(np.array([1.0, 1.2, 2.5])),
    )


def stream(model, episode, predictor=None):
    predictor = predictor or FailurePredictor(model)
    return [
        predictor.on_signals("a", 1, t, 0, SignalVector(episode.signals[t], int(episode.valid[t])))
        for t in range(len(episode.times))
    ]


@pytest.mark.parametrize("members", [1, 5])
def test_steps_give_what_the_whole_recording_gives(members):
    model, episode = random_model(members=members), made_up(3, True)
    # A new instruction halfway: history begins anew.
    episode.valid[40] ^= 1
    middle = np.median(score_episode(model, episode).score)
    model = replace(model, band=alarm.Band(np.full(3, middle), release=0.01, release_steps=2))
    whole = score_episode(model, episode)
    for t, result in enumerate(stream(model, episode)):
        np.testing.assert_allclose(result.probabilities, whole.probabilities[t], atol=1e-5)
        assert result.valid
        assert result.episode_failure_probability == pytest.approx(whole.episode[t], abs=1e-5)
        assert result.episode_score == pytest.approx(sigmoid(whole.score[t : t + 1])[0], abs=1e-5)
        assert result.alarm == whole.alarm[t]
    assert whole.alarm.any() and not whole.alarm.all()


def test_a_recording_at_once_gives_what_its_steps_give():
    model, episode = random_model(), made_up(3, True)
    episode.signals[5, 3] = np.nan
    # A new instruction, another source, and observations that are too old.
    episode.valid[40] ^= 1
    steps = [
        RecordedStep(
            "a" if t < 60 else "b",
            t // 10,
            t % 10,
            t,
            SignalVector(episode.signals[t], int(episode.valid[t])),
            9.0 if 20 <= t < 25 else 0.1,
        )
        for t in range(len(episode.times))
    ]
    predictor = FailurePredictor(model)
    whole = predict_recording(model, steps)
    assert len(whole) == len(steps) and any(p.alarm for p in whole)
    for step, found in zip(steps, whole, strict=True):
        alone = predictor.on_signals(*step)
        np.testing.assert_allclose(found.probabilities, alone.probabilities, atol=1e-6)
        for name in ("episode_failure_probability", "episode_score", "alarm_threshold"):
            assert getattr(found, name) == pytest.approx(getattr(alone, name), abs=1e-6)
        same = ("source_id", "chunk_number", "step", "observation_stamp", "valid", "alarm")
        assert all(getattr(found, name) == getattr(alone, name) for name in same)
    assert predict_recording(model, []) == []
    with pytest.raises(SignalError, match="3 signals"):
        predict_recording(model, [steps[0]._replace(signals=SignalVector(np.zeros(3), 0))])


def test_history_begins_anew_at_reset_source_and_instruction():
    model, episode = random_model(), made_up(4)
    predictor = FailurePredictor(model)
    first = stream(model, episode, predictor)
    # The first step's validity says that its history is new.
    again = stream(model, episode, predictor)
    predictor.reset()
    fresh = stream(model, episode, predictor)
    for a, b, c in zip(first, again, fresh, strict=True):
        assert a.episode_score == b.episode_score == c.episode_score
    vector = SignalVector(episode.signals[1], ALL_VALID)
    other = predictor.on_signals("another", 1, 0, 0, vector)
    alone = FailurePredictor(model).on_signals("another", 1, 0, 0, vector)
    np.testing.assert_array_equal(other.probabilities, alone.probabilities)


def test_the_network_sees_its_window_and_nothing_of_the_future():
    model, episode = random_model(), made_up(5)
    base = score_episode(model, episode).probabilities
    changed = replace(episode, signals=episode.signals.copy())
    changed.signals[50] += 1.0
    differs = np.abs(score_episode(model, changed).probabilities - base).max(axis=(1, 2)) > 0
    assert np.flatnonzero(differs).tolist() == list(range(50, 50 + SMALL.window))


def test_stale_signals_are_marked_and_keep_the_history():
    model, episode = random_model(), made_up(6)
    fresh, late = FailurePredictor(model), FailurePredictor(model, signal_age=1.0)
    for t in range(20):
        vector = SignalVector(episode.signals[t], int(episode.valid[t]))
        usual = fresh.on_signals("a", 1, t, 0, vector, age=0.5)
        marked = late.on_signals("a", 1, t, 0, vector, age=0.5 if t == 19 else 1.5)
        assert usual.valid and marked.valid == (t == 19)
        if t < 19:
            assert not marked.alarm and not marked.probabilities.any()
    np.testing.assert_array_equal(usual.probabilities, marked.probabilities)


def test_unknown_and_infinite_signals_give_finite_numbers():
    model = random_model()
    for values in (np.full(SIGNALS, np.nan), np.full(SIGNALS, np.inf), np.full(SIGNALS, 3e38)):
        vector = SignalVector(values.astype(np.float32), ALL_VALID)
        result = FailurePredictor(model).on_signals("a", 1, 0, 0, vector)
        told = (result.episode_score, result.alarm_threshold, result.episode_failure_probability)
        assert np.isfinite(result.probabilities).all() and np.isfinite(told).all()


def test_normalisation_ignores_unknown_values_and_what_comes_after_the_onset():
    episode = made_up(7, True, steps=60, onset=1.0, end=2.0)
    episode.signals[40:, 3] = 1e6
    episode.signals[5, 2] = np.nan
    episode.valid[:] &= ~np.uint16(1 << 7)
    norm = fit_normalisation([episode])
    assert norm.scale[3] < 2 and np.isfinite(norm.centre).all()
    assert (norm.centre[7], norm.scale[7]) == (0.0, 1.0)


def test_platt_scaling_gives_back_the_probabilities_that_made_the_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < sigmoid(0.5 * logits - 1.0)).astype(float)
    slope, intercept = fit_platt(logits, labels)
    assert slope == pytest.approx(0.5, abs=0.05) and intercept == pytest.approx(-1.0, abs=0.06)
    # Scores that point the wrong way are flattened, never turned round.
    assert fit_platt(-logits, labels)[0] > 0


def test_rare_types_take_over_what_fits_all_types():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 4, 4))
    labels = rng.random((4000, 4, 4)) < sigmoid(logits)
    labels[:, :, 2] = False
    labels[:3, :, 2] = True
    platt = fit_table(logits, labels, np.arange(4000) // 100)
    assert platt.slope[0, 0] != platt.slope[0, 2]
    assert 0.05 < platt.slope[0, 2] < 1.5


def successes(count, seed, steps=80):
    rng = np.random.default_rng(seed)
    return [np.cumsum(rng.normal(size=steps + k % 20)) * 0.1 for k in range(count)]


def test_the_band_holds_its_false_alarm_rate_on_new_successes():
    false = []
    for seed in range(20):
        band = alarm.fit_band(successes(60, seed), successes(100, 100 + seed))
        new = successes(200, 200 + seed)
        false.append(np.mean([alarm.first_alarm(band, s) >= 0 for s in new]))
    # 4000 successes in 20 calibrations; conformal: at most alpha on average.
    assert 0.02 < np.mean(false) < 0.065


def test_too_few_successes_are_refused_naming_both_numbers():
    with pytest.raises(SignalError, match=r"needs 100 .* there are 99"):
        alarm.fit_band(successes(60, 0), successes(99, 1))
    with pytest.raises(SignalError, match=r"needs 199 .* there are 100"):
        alarm.fit_band(successes(60, 0), successes(100, 1), alpha=0.005)


def test_the_alarm_goes_off_only_after_some_steps_well_below_the_threshold():
    band = alarm.Band(np.zeros(4), release=0.5, release_steps=3)
    scores = np.array([-1, 0.1, -0.1, -0.6, -0.6, -0.4, -0.6, -0.6, -0.6, -0.6, 0.2])
    told = alarm.alarms(band, scores).tolist()
    assert told == [False, *[True] * 7, False, False, True]
    assert alarm.first_alarm(band, scores) == 1


def test_roc_auc_counts_pairs_and_intervals_draw_whole_episodes():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 20, 200).astype(float)
    positive = rng.random(200) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert metrics.auc(scores, positive) == pytest.approx(np.mean(pairs))
    few = metrics.Ranking(scores, positive, np.arange(200) // 50).auc_estimate()
    many_ = metrics.Ranking(scores, positive).auc_estimate()
    assert few.low <= few.value <= few.high and few.value == many_.value
    draws = np.array([[2.0, 0.0, 1.0, 1.0]])
    chosen = np.concatenate([np.arange(50), np.arange(50), np.arange(100, 200)])
    drawn = metrics.Ranking(scores, positive, np.arange(200) // 50).aucs(draws)
    assert drawn[0] == pytest.approx(metrics.auc(scores[chosen], positive[chosen]))
    assert metrics.Ranking(scores, np.zeros(200, bool)).auc_estimate().value is None


def test_average_precision_and_f1_of_a_worked_example():
    scores, positive = np.array([4.0, 3, 2, 1]), np.array([True, False, True, False])
    assert metrics.Ranking(scores, positive).average_precision() == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.best_f1(scores, positive) == (pytest.approx(0.8), 2.0)


def test_a_checkpoint_gives_back_the_same_model(tmp_path):
    model, episode = random_model(members=5), made_up(8, True)
    file = tmp_path / "p.safetensors"
    fingerprint = save_checkpoint(file, model, {"unseen": ["latency"]})
    loaded, header = load_with_header(file)
    assert header["fingerprint"] == fingerprint and header["trained"] == {"unseen": ["latency"]}
    assert (loaded.robot, loaded.band.alpha, loaded.band.successes) == ("panda", 0.05, 100)
    for name in ("probabilities", "episode", "score", "alarm"):
        before, after = (getattr(score_episode(m, episode), name) for m in (model, loaded))
        np.testing.assert_array_equal(before, after)


def rewrite(file, change):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(str(file), "np") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        header = json.loads(opened.metadata()["salus"])
    change(header, tensors)
    save_file(tensors, str(file), {"salus": json.dumps(header, sort_keys=True)})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda h, t: h.update(layout_version=2), "signal layout 2"),
        (lambda h, t: h.update(signal_names=["x"] * 18), "18-value layout"),
        (lambda h, t: h.update(kind="a cat"), "no failure predictor"),
        (lambda h, t: h.update(format=99), "format 99"),
        (lambda h, t: h.update(failure_types=["fire"]), "other failure types"),
        (lambda h, t: h["network"].update(inputs=30), "number of inputs"),
        (lambda h, t: h.update(smoothing=0.9), "damaged or was changed"),
        (lambda h, t: t["head.bias"].__setitem__(0, 9.0), "damaged or was changed"),
        (lambda h, t: t.pop("head.bias"), "damaged or was changed"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(tmp_path, change, told):
    file = tmp_path / "p.safetensors"
    save_checkpoint(file, random_model())
    rewrite(file, change)
    with pytest.raises(SignalError, match=told) as error:
        load_checkpoint(file)
    assert "\n" not in str(error.value)


def test_no_file_and_a_torn_one_are_refused(tmp_path):
    with pytest.raises(SignalError, match="does not exist"):
        load_checkpoint(tmp_path / "none.safetensors")
    file = tmp_path / "p.safetensors"
    save_checkpoint(file, random_model())
    Path(file).write_bytes(file.read_bytes()[:300])
    with pytest.raises(SignalError, match="can't be read"):
        load_checkpoint(file)


def test_a_model_is_not_tested_on_what_it_has_seen():
    splits = split_episodes(many(60))
    used = {"train": [splits.test[0].fingerprint]}
    with pytest.raises(SignalError, match="1 test episodes were used"):
        check_unused({"used": used}, splits)
    check_unused({"used": {"train": [e.fingerprint for e in splits.train]}}, splits)
