"""Signals in, predictions out, one for each executed step."""

from __future__ import annotations

from salus_ros.prediction.layout import PredictionResult, no_prediction
from salus_ros.prediction.window import WINDOW_STEPS, SignalWindow
from salus_ros.signals.layout import SignalVector

NO_CHECKPOINT = (
    "no checkpoint is configured: predictions are published and marked invalid; "
    "set `checkpoint` to a trained failure predictor"
)


class FailurePredictor:
    """Holds the window of signals. Without a trained model every prediction is invalid."""

    def __init__(self, window_steps: int = WINDOW_STEPS) -> None:
        self.window = SignalWindow(window_steps)

    def reset(self) -> None:
        """An episode or a new instruction begins."""
        self.window.reset()

    def on_signals(
        self,
        source_id: str,
        chunk_number: int,
        step: int,
        observation_stamp: int,
        signals: SignalVector,
    ) -> PredictionResult:
        """For a step of a chunk. Raises SignalError where the signals have another layout."""
        self.window.add(signals, source_id)
        return no_prediction(source_id, chunk_number, step, observation_stamp)
