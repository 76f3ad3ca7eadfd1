"""The failure model: everything between a window of signals and a calibrated prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.alarm import Alarm, Band, alarms
from salus_ros.prediction.deadlines import Deadlines, elapsed_times
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.features import Normalisation, beginnings, features, known_signals
from salus_ros.prediction.layout import FAILURE_TYPES, HORIZONS
from salus_ros.prediction.network import Array, Network, Outputs
from salus_ros.prediction.platt import Platt, sigmoid

# How much of a new logit goes into the episode's score: half of it within 3 steps.
SMOOTHING = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class FailureModel:
    """Network, normalisation, calibration and band; as in a checkpoint.

    table, episode: calibration of the horizons' logits and of the episode's. deadlines: when
    timeouts begin. step_period [s] of the steps that it was trained on. robot, policy: whose.
    """

    network: Network
    normalisation: Normalisation
    table: Platt
    episode: Platt
    band: Band
    step_period: float = 1 / 30
    horizons: tuple[float, ...] = HORIZONS
    failure_types: tuple[str, ...] = FAILURE_TYPES
    smoothing: float = SMOOTHING
    robot: str = ""
    policy: str = ""
    deadlines: Deadlines = field(default_factory=Deadlines)


@dataclass(frozen=True, slots=True, eq=False)
class EpisodeScores:
    """Of each step of an episode.

    probabilities [T, horizons, types]; episode [T]: probability that it fails; score [T]: the
    smoothed logit that the alarm is held against; threshold [T]: of it; alarm [T].
    """

    probabilities: FloatArray
    episode: FloatArray
    score: FloatArray
    threshold: FloatArray
    alarm: NDArray[np.bool_]


def smoothed(logits: FloatArray, share: float) -> FloatArray:
    """Exponential moving average of logits [T], beginning with the first."""
    found = np.empty_like(logits)
    average = logits[0] if len(logits) else 0.0
    for t, logit in enumerate(logits.tolist()):
        average += share * (logit - average)
        found[t] = average
    return found


def raw_outputs(
    network: Network, norm: Normalisation, episode: RecordedEpisode
) -> tuple[Outputs, list[slice]]:
    """Logits at all steps of an episode, and the stretches that each began with no history."""
    parts = beginnings(known_signals(episode))
    return _outputs(network, features(episode, norm), parts), parts


def _outputs(network: Network, rows: Array, parts: Sequence[slice]) -> Outputs:
    found = [network.recording(rows[part]) for part in parts]
    horizons = np.concatenate([o.horizons for o in found])
    return Outputs(horizons, np.concatenate([o.episode for o in found]))


def score_episode(model: FailureModel, episode: RecordedEpisode) -> EpisodeScores:
    """The whole episode at once: equal to its steps one by one."""
    rows = features(episode, model.normalisation)
    return score_steps(model, rows, beginnings(known_signals(episode)))


def score_steps(model: FailureModel, rows: Array, parts: Sequence[slice]) -> EpisodeScores:
    """The same for features [T, 24] of steps, in stretches that each began with no history."""
    outputs = _outputs(model.network, rows, parts)
    logits = model.episode.logits(outputs.episode)
    score = np.concatenate([smoothed(logits[part], model.smoothing) for part in parts])
    alarm = np.concatenate([alarms(model.band, score[part]) for part in parts])
    threshold = np.concatenate([model.band.over(part.stop - part.start) for part in parts])
    elapsed = elapsed_times(parts, model.step_period)
    told = model.deadlines.applied(outputs.horizons, elapsed, model.horizons)
    table = model.table.table(told)
    return EpisodeScores(table, sigmoid(logits), score, threshold, alarm)


@dataclass(frozen=True, slots=True, eq=False)
class StepScores:
    """Of one step: probabilities [horizons, types]; failing: probability that the episode fails.

    score, threshold: of the alarm, as probabilities.
    """

    probabilities: FloatArray
    failing: float
    score: float
    threshold: float
    alarm: bool


class ModelStream:
    """The same, step by step."""

    def __init__(self, model: FailureModel) -> None:
        self.model = model
        self._alarm = Alarm(model.band)
        self.reset()

    def reset(self) -> None:
        """An episode begins."""
        self._alarm.reset()
        self._score: float | None = None
        self._steps = 0

    def step(self, values: NDArray[np.float32], known: NDArray[np.bool_]) -> StepScores:
        """For the window [steps, 12] that ends now."""
        model = self.model
        outputs = model.network.last(model.normalisation.apply(values, known))
        logit = float(model.episode.logits(outputs.episode)[0])
        last = logit if self._score is None else self._score
        self._score = last + model.smoothing * (logit - last)
        alarm = self._alarm.update(self._score)
        told = np.array([logit, self._score, self._alarm.threshold])
        failing, score, threshold = sigmoid(told).tolist()
        return StepScores(self._table(outputs), failing, score, threshold, alarm)

    def _table(self, outputs: Outputs) -> FloatArray:
        model = self.model
        self._steps += 1
        elapsed = np.array(self._steps * model.step_period)
        return model.table.table(model.deadlines.applied(outputs.horizons, elapsed, model.horizons))
