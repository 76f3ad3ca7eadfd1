"""Predictions of a whole recording at once: those of `FailurePredictor`, to 1e-5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from salus_ros.prediction.features import beginnings
from salus_ros.prediction.layout import PredictionResult, no_prediction
from salus_ros.prediction.model import EpisodeScores, FailureModel, score_steps
from salus_ros.prediction.platt import sigmoid
from salus_ros.prediction.predictor import SIGNAL_AGE
from salus_ros.prediction.window import known_values
from salus_ros.signals.layout import SignalVector, check_width


class RecordedStep(NamedTuple):
    """What `FailurePredictor.on_signals` is told of a step; age: of its observation [s]."""

    source_id: str
    chunk_number: int
    step: int
    observation_stamp: int
    signals: SignalVector
    age: float


def predict_recording(
    model: FailureModel, steps: Sequence[RecordedStep], signal_age: float = SIGNAL_AGE
) -> list[PredictionResult]:
    """One for each step, in order; see `FailurePredictor`. Raises SignalError likewise."""
    if not steps:
        return []
    for step in steps:
        check_width(len(step.signals.values), "a signal vector")
    values = np.array([step.signals.values for step in steps], np.float32)
    known = known_values(values, np.array([step.signals.valid for step in steps]))
    rows = model.normalisation.apply(np.where(known, values, 0.0).astype(np.float32), known)
    parts = beginnings(known, [step.source_id for step in steps])
    return _results(model, steps, score_steps(model, rows, parts), signal_age)


def _results(
    model: FailureModel, steps: Sequence[RecordedStep], found: EpisodeScores, signal_age: float
) -> list[PredictionResult]:
    tables = found.probabilities.astype(np.float32)
    failing, alarms = found.episode.tolist(), found.alarm.tolist()
    scores, thresholds = sigmoid(found.score).tolist(), sigmoid(found.threshold).tolist()
    return [
        PredictionResult(
            *step[:4],
            valid=True,
            horizons=model.horizons,
            failure_types=model.failure_types,
            probabilities=tables[t],
            episode_failure_probability=failing[t],
            episode_score=scores[t],
            alarm_threshold=thresholds[t],
            alarm=alarms[t],
        )
        if step.age <= signal_age
        else no_prediction(*step[:4])
        for t, step in enumerate(steps)
    ]
