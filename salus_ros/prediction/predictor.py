"""Signals in, predictions out, one for each executed step."""

from __future__ import annotations

import numpy as np

from salus_ros.prediction.features import history_begins
from salus_ros.prediction.layout import PredictionResult, no_prediction
from salus_ros.prediction.model import FailureModel, ModelStream
from salus_ros.prediction.window import WINDOW_STEPS, SignalWindow, known_bits
from salus_ros.signals.layout import SignalVector

NO_CHECKPOINT = (
    "no checkpoint is configured: predictions are published and marked invalid; "
    "set `checkpoint` to a trained failure predictor"
)
# A plan of 50 rows at 30 Hz is followed for 1.7 s after its observation, with latency about 2 s.
SIGNAL_AGE = 2.5


class FailurePredictor:
    """Holds the window of signals. Without a trained model every prediction is invalid."""

    def __init__(self, model: FailureModel | None = None, signal_age: float = SIGNAL_AGE) -> None:
        """signal_age: signals whose observation is older than this tell nothing about now [s]."""
        window = WINDOW_STEPS if model is None else model.network.config.window
        self.window = SignalWindow(window)
        self._signal_age = signal_age
        self._stream = None if model is None else ModelStream(model)
        self._source_id = ""
        self._began = False

    def reset(self) -> None:
        """An episode or a new instruction begins."""
        self.window.reset()
        self._began = False
        if self._stream is not None:
            self._stream.reset()

    def on_signals(
        self,
        source_id: str,
        chunk_number: int,
        step: int,
        observation_stamp: int,
        signals: SignalVector,
        age: float = 0.0,
    ) -> PredictionResult:
        """For a step of a chunk whose observation is `age` [s] old; another source begins anew.

        Stale signals enter the history, but their prediction is invalid. Raises SignalError where
        the signals have another layout.
        """
        if source_id != self._source_id:
            self.reset()
            self._source_id = source_id
        self._begin_where_signals_do(signals)
        self.window.add(signals, source_id)
        nothing = no_prediction(source_id, chunk_number, step, observation_stamp)
        if self._stream is None:
            return nothing
        found = self._stream.step(*self.window.contents())
        if age > self._signal_age:
            return nothing
        model = self._stream.model
        return PredictionResult(
            source_id=source_id,
            chunk_number=chunk_number,
            step=step,
            observation_stamp=observation_stamp,
            valid=True,
            horizons=model.horizons,
            failure_types=model.failure_types,
            probabilities=found.probabilities.astype(np.float32),
            episode_failure_probability=found.failing,
            episode_score=found.score,
            alarm_threshold=found.threshold,
            alarm=found.alarm,
        )

    def _begin_where_signals_do(self, signals: SignalVector) -> None:
        """A new instruction reaches this node only through the signals' history."""
        if self._began and history_begins(known_bits(signals)):
            self.reset()
        self._began = True
