"""Training, the decision rule, figures and their report, on made-up episodes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from prediction_episodes import made_up, many, with_latents

from salus_ros.prediction import evaluation, fitting, quality
from salus_ros.prediction.alarm import Band
from salus_ros.prediction.card import card
from salus_ros.prediction.features import fit_normalisation
from salus_ros.prediction.matched_steps import matched_horizon_auc
from salus_ros.prediction.network import Network, NetworkConfig
from salus_ros.prediction.splits import Splits, split_episodes
from salus_ros.prediction.training import TrainingConfig, examples, train
from salus_ros.signals.layout import ALL_VALID, ENTROPY, MAX_PROB, SignalError, SignalVector

CONFIG = TrainingConfig(network=NetworkConfig(layers=3, hidden=12), epochs=20, rate=1e-2)


@pytest.fixture(scope="module")
def splits():
    episodes = [with_latents(e, e.seed) for e in many(170)]
    episodes += [made_up(900 + i, i % 2 == 0, disturbance="block_pushed") for i in range(20)]
    return split_episodes(episodes)


@pytest.fixture(scope="module")
def fitted(splits):
    return fitting.fit(splits, CONFIG, fewest=20)


def test_the_numpy_network_gives_what_torch_trained(splits):
    import torch

    from salus_ros.prediction.torch_network import TorchNetwork

    torch_network = TorchNetwork(CONFIG.network, 0.0, seed=3)
    example = examples(splits.train[:1], fit_normalisation(splits.train))[0]
    with torch.no_grad():
        table, episode = torch_network(torch.from_numpy(example.features)[None])
    ours = Network(CONFIG.network, torch_network.weights()).recording(example.features)
    np.testing.assert_allclose(ours.horizons, table[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(ours.episode, episode[0].numpy(), atol=1e-4)
    assert (np.diff(ours.horizons, axis=1) >= 0).all()


class StoppedError(Exception):
    pass


def test_an_interrupted_training_ends_as_if_it_had_not_been(splits, tmp_path):
    norm = fit_normalisation(splits.train)
    data = examples(splits.train[:20], norm), examples(splits.validation, norm)
    config = replace(CONFIG, epochs=4)
    whole = train(config, *data)
    state = tmp_path / "state"

    def stop(progress):
        if progress.epoch == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(config, *data, stop, state)
    epochs = []
    resumed = train(config, *data, lambda p: epochs.append(p.epoch), state)
    assert epochs == [3, 4]
    for name, value in whole.items():
        np.testing.assert_array_equal(value, resumed[name])
    # The state of another training is not gone on from.
    train(replace(config, seed=5), *data, lambda p: epochs.append(p.epoch), state)
    assert epochs[2:] == [1, 2, 3, 4]
    state.write_bytes(b"torn")
    train(config, *data, lambda p: epochs.append(p.epoch), state)
    assert epochs[6:] == [1, 2, 3, 4]


def test_it_learns_what_announces_itself_and_keeps_horizons_in_order(splits, fitted):
    group = evaluation.model_scores(fitted.model, splits.test)
    assert quality.episode_ranking(group).auc() > 0.9
    assert quality.horizon_ranking(group, 3).auc() > 0.9
    near = np.concatenate([s.step for s in group])
    assert (np.diff(near, axis=1) >= -1e-12).all() and near.min() >= 0 and near.max() <= 1


def test_it_still_works_where_a_policy_has_no_distribution(splits, fitted):
    from salus_ros.prediction.predictor import FailurePredictor

    missing = ALL_VALID & ~(1 << ENTROPY) & ~(1 << MAX_PROB) & ~1
    predictor = FailurePredictor(fitted.model)
    result = predictor.on_signals("a", 1, 0, 0, SignalVector(splits.test[0].signals[0], missing))
    assert result.valid and np.isfinite(result.probabilities).all()


def test_the_decision_rule_says_which_and_why(splits, fitted):
    told = fitted.decision
    assert told.members == 1 and told.f1_without >= 0.6 and "at least 0.60" in told.reason
    # Labels without any sense: F1 stays low.
    rng = np.random.default_rng(0)
    noise = [
        replace(made_up(i), success=False, failure_type="drop", onset=2.9)
        if rng.random() < 0.15
        else made_up(i)
        for i in range(70)
    ]
    some = Splits(train=tuple(noise[:40]), validation=tuple(noise[40:]))
    config = replace(CONFIG, epochs=1)
    network, _, again = fitting.fit_network(some, config)
    assert again.members == len(network.masks) == 5
    assert "below 0.60" in again.reason and again.f1_with is not None


def test_too_few_episodes_are_refused_before_training(splits):
    with pytest.raises(SignalError, match=r"needs 100 .* there are"):
        fitting.check(splits)
    few = replace(splits, train=tuple(e for e in splits.train if not e.failed))
    with pytest.raises(SignalError, match="training needs 5 failures and 5 successes"):
        fitting.check(few, fewest=20)


def scored(running, failed, seed=0, onset=None):
    """An episode of 3 s whose score is this one at each of its steps."""
    count = len(running)
    episode = made_up(seed, failed, steps=count)
    if onset is not None:
        episode = replace(episode, onset=onset)
    rows = np.asarray(running, float)
    return quality.Scored(episode, np.repeat(rows[:, None], 4, axis=1), rows)


def test_lead_time_counts_a_missed_failure_as_nothing():
    band = Band(np.zeros(1))
    group = [
        scored([-1] * 60 + [1] * 30, True, 1),
        scored([-1] * 90, True, 2),
        scored([-1] * 30 + [1] * 60, True, 3),
        scored([-1] * 90, False, 4),
        scored([1] * 90, False, 5),
    ]
    told = quality.alarm_quality(group, band)
    assert told["recall"]["value"] == pytest.approx(2 / 3)
    assert told["false_alarm_rate"]["value"] == 0.5 and told["precision"]["value"] == 2 / 3
    assert told["lead_time_p50"]["value"] == pytest.approx(1.0)
    # Quiet shares 1 and 0, warned shares 1/3, 0 and 2/3.
    assert told["time_weighted_accuracy"] == pytest.approx((0.5 + 1 / 3) / 2)


def test_binomial_tail_of_a_worked_example():
    assert quality.binomial_tail(0, 10, 0.05) == pytest.approx(1.0)
    assert quality.binomial_tail(1, 10, 0.05) == pytest.approx(1 - 0.95**10)
    assert quality.binomial_tail(10, 10, 0.5) == pytest.approx(0.5**10)


def test_the_clock_alone_earns_nothing_at_matched_elapsed_time():
    clock = [scored(np.arange(150), True, i) for i in range(20)]
    clock += [scored(np.arange(60 + i), False, 100 + i) for i in range(30)]
    assert quality.episode_ranking(clock).auc() == 1.0
    assert quality.matched_auc(clock).value == 0.5
    assert quality.horizon_ranking(clock, 3).auc() > 0.9
    late = [scored(np.arange(100), True, 40 + i) for i in range(5)]
    assert matched_horizon_auc(clock + late, 3).value == 0.5


def test_steps_at_one_time_are_told_apart_by_what_is_no_clock():
    near = [scored(np.arange(90) + 100.0, True, i) for i in range(6)]
    far = [scored(np.arange(120) - 100.0, False, 50 + i) for i in range(6)]
    told = matched_horizon_auc(near + far, 0)
    assert (told.value, told.low, told.high) == (1.0, 1.0, 1.0)
    # All fail at once: nowhere is there anything to compare with.
    assert matched_horizon_auc(near, 0).value is None


def test_model_and_baselines_are_judged_alike_and_what_is_missing_is_said(
    splits, fitted, tmp_path, monkeypatch
):
    from salus_ros.prediction import latent_baselines, learned_baselines
    from salus_ros.prediction.report import write_report

    monkeypatch.setattr(latent_baselines, "_STEPS", 20)
    monkeypatch.setattr(learned_baselines, "EPOCHS", 2)
    monkeypatch.setattr(learned_baselines, "MLP_EPOCHS", 2)
    # Those of "unseen" have no latents: only fitting needs them for all.
    complete = replace(splits, unseen=tuple(with_latents(e, e.seed) for e in splits.unseen))
    content = evaluation.evaluate(fitted.model, complete)
    assert set(content["model"]) == {"seen", "unseen"}
    baselines = content["baselines"]
    assert len(baselines) == 23
    missing = {name for name, found in baselines.items() if "not_available" in found}
    assert missing == {"action variance over samples"}
    assert baselines["entropy threshold"]["seen"]["episode_auc"]["value"] > 0.8
    assert baselines["k-NN on latents"]["seen"]["episode_auc"]["value"] > 0.9
    told = {"parameters": 1, "commit": "c", "unseen": [], "episodes": content["episodes"]}
    told["decision"] = {"reason": fitted.decision.reason}
    assert "| test |" in card("p", fitted.model, told, "f")
    content |= {"decision": told["decision"]}
    write_report(tmp_path / "r.html", json.loads(json.dumps(content, allow_nan=False)))
    page = (tmp_path / "r.html").read_text()
    assert "Within single disturbances" in page and "LSTM on latents" in page
