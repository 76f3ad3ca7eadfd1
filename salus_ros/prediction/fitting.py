"""From splits to a calibrated model: train, decide on dropout, calibrate, set the alarm's band."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.alarm import ALPHA, FEWEST_SUCCESSES, Band, check_successes, fit_band
from salus_ros.prediction.deadlines import TIMEOUT, Deadlines, elapsed_times, fit_deadlines
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.features import (
    Normalisation,
    beginnings,
    fit_normalisation,
    known_signals,
)
from salus_ros.prediction.labels import step_labels
from salus_ros.prediction.metrics import best_f1
from salus_ros.prediction.model import SMOOTHING, FailureModel, raw_outputs, score_episode, smoothed
from salus_ros.prediction.network import Network, Outputs
from salus_ros.prediction.platt import Platt, fit_platt, fit_table
from salus_ros.prediction.splits import Splits
from salus_ros.prediction.training import Progress, TrainingConfig, check_enough, examples, train

# Decision rule: below this F1 of episodes on validation, dropout stays on in use.
LEAST_F1 = 0.60
MEMBERS = 5
DROPOUT = 0.2


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether MC dropout is used: members > 1; F1 on validation of each that was trained; why."""

    members: int
    f1_without: float
    f1_with: float | None
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A model, and what was decided on the way."""

    model: FailureModel
    decision: Decision


def fit(
    splits: Splits,
    config: TrainingConfig,
    on_epoch: Callable[[Progress], None] = lambda _: None,
    state_file: Path | None = None,
    alpha: float = ALPHA,
    fewest: int = FEWEST_SUCCESSES,
) -> Fitted:
    """Train and calibrate. Raises SignalError where there are too few episodes, at once."""
    check_successes(_successes(splits.conformal), alpha, fewest)
    network, norm, decision = fit_network(splits, config, on_epoch, state_file)
    deadlines = fit_deadlines(splits.train, splits.calibration)
    table, episode = calibrate(network, norm, splits.calibration, deadlines)
    first = splits.train[0]
    model = FailureModel(
        network=network,
        normalisation=norm,
        table=table,
        episode=episode,
        band=Band(np.zeros(1)),
        step_period=first.step_period,
        robot=first.robot,
        policy=first.policy,
        deadlines=deadlines,
    )
    shape = success_scores(model, (*splits.validation, *splits.calibration))
    height = success_scores(model, splits.conformal)
    return Fitted(replace(model, band=fit_band(shape, height, alpha, fewest)), decision)


def fit_network(
    splits: Splits,
    config: TrainingConfig,
    on_epoch: Callable[[Progress], None] = lambda _: None,
    state_file: Path | None = None,
) -> tuple[Network, Normalisation, Decision]:
    """The network alone, by the decision rule."""
    norm = fit_normalisation(splits.train)
    network = _trained(splits, norm, config, 1, on_epoch, state_file)
    f1 = episode_f1(network, norm, splits.validation)
    if f1 >= LEAST_F1 or not splits.validation:
        reason = f"episode F1 on validation is {f1:.3f}, at least {LEAST_F1:.2f}: no dropout in use"
        return network, norm, Decision(1, f1, None, reason)
    # Extracted again: normalisation and examples are made anew, and nothing of the first is kept.
    norm = fit_normalisation(splits.train)
    again = replace(config, dropout=DROPOUT, seed=config.seed + 1)
    state = None if state_file is None else state_file.with_name(state_file.name + ".dropout")
    network = _trained(splits, norm, again, MEMBERS, on_epoch, state)
    f1_with = episode_f1(network, norm, splits.validation)
    reason = (
        f"episode F1 on validation is {f1:.3f}, below {LEAST_F1:.2f}: trained again with MC "
        f"dropout (K = {MEMBERS}), which gives {f1_with:.3f}"
    )
    return network, norm, Decision(MEMBERS, f1, f1_with, reason)


def _trained(
    splits: Splits,
    norm: Normalisation,
    config: TrainingConfig,
    members: int,
    on_epoch: Callable[[Progress], None],
    state_file: Path | None,
) -> Network:
    learned = examples(splits.train, norm)
    weights = train(config, learned, examples(splits.validation, norm), on_epoch, state_file)
    if members == 1:
        return Network(config.network, weights)
    # Drawn once and kept: the same input always gives the same prediction.
    rng = np.random.default_rng([config.seed, members])
    shape = (members, config.network.layers, config.network.hidden)
    kept = rng.random(shape) >= config.dropout
    return Network(config.network, weights, (kept / (1 - config.dropout)).astype(np.float32))


def episode_f1(network: Network, norm: Normalisation, episodes: Sequence[RecordedEpisode]) -> float:
    """Best F1 of telling failures from successes by their highest score; 0 where undefined."""
    if not episodes:
        return 0.0
    scores = [
        smoothed(o.episode.astype(np.float64), SMOOTHING).max()
        for o in _outputs(network, norm, episodes)
    ]
    f1, _ = best_f1(np.array(scores), np.array([e.failed for e in episodes]))
    return float(np.nan_to_num(f1))


def calibrate(
    network: Network,
    norm: Normalisation,
    episodes: Sequence[RecordedEpisode],
    deadlines: Deadlines,
) -> tuple[Platt, Platt]:
    """Of the table and of the episode's logit, on episodes that only this uses."""
    outputs = _outputs(network, norm, episodes)
    lengths = [e.steps_before_onset for e in episodes]
    table = _calibrated_table(outputs, episodes, deadlines)
    failing = np.concatenate([o.episode for o in outputs]).astype(np.float64)
    failed = np.repeat([float(e.failed) for e in episodes], lengths)
    # Each episode weighs the same, and all together as much as there are seconds.
    weights = np.repeat([30.0 / n for n in lengths], lengths)
    slope, intercept = fit_platt(failing, failed, weights)
    return table, Platt(np.array([slope]), np.array([intercept]))


def _calibrated_table(
    outputs: Sequence[Outputs], episodes: Sequence[RecordedEpisode], deadlines: Deadlines
) -> Platt:
    """Timeouts apart: logits with the clock in them don't fit any other type's."""
    labels = np.concatenate([step_labels(e) for e in episodes])
    logits = np.concatenate([o.horizons for o in outputs]).astype(np.float64)
    of = np.repeat(np.arange(len(episodes)), [e.steps_before_onset for e in episodes])
    table = fit_table(logits, labels, of)
    clocked = deadlines.applied(logits, np.concatenate([_elapsed(e) for e in episodes]))
    own = fit_table(clocked[..., [TIMEOUT]], labels[..., [TIMEOUT]], of)
    return table.with_type(TIMEOUT, own) if len(deadlines.onsets) else table


def _elapsed(episode: RecordedEpisode) -> FloatArray:
    """As the predictor counts it [s], at the steps before the onset."""
    parts = beginnings(known_signals(episode))
    return elapsed_times(parts, episode.step_period)[: episode.steps_before_onset]


def success_scores(model: FailureModel, episodes: Sequence[RecordedEpisode]) -> list[FloatArray]:
    """The alarm's score [T] over each episode without a failure."""
    return [episode_score(model, e) for e in episodes if not e.failed]


def episode_score(model: FailureModel, episode: RecordedEpisode) -> FloatArray:
    """The alarm's score [T] at the steps before the onset."""
    return score_episode(model, episode).score[: episode.steps_before_onset]


def check(splits: Splits, alpha: float = ALPHA, fewest: int = FEWEST_SUCCESSES) -> None:
    """Raise SignalError where the episodes won't do, before anything takes long."""
    check_successes(_successes(splits.conformal), alpha, fewest)
    check_enough(examples(splits.train, fit_normalisation(splits.train)) if splits.train else [])


def _successes(episodes: Sequence[RecordedEpisode]) -> int:
    return sum(not e.failed for e in episodes)


def _outputs(
    network: Network, norm: Normalisation, episodes: Sequence[RecordedEpisode]
) -> list[Outputs]:
    """At the steps before the onset."""
    found = []
    for episode in episodes:
        outputs, _ = raw_outputs(network, norm, episode)
        count = episode.steps_before_onset
        found.append(Outputs(outputs.horizons[:count], outputs.episode[:count]))
    return found
