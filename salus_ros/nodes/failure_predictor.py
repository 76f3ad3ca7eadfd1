"""The predictor node: signals in, probabilities of failure and an alarm out."""

from __future__ import annotations

import sys

from salus_msgs.msg import FailurePrediction as FailurePredictionMessage
from salus_msgs.msg import Signals as SignalsMessage

from salus_ros.interfaces import seconds
from salus_ros.nodes import conversions, qos, topics
from salus_ros.nodes.managed_node import ManagedNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.run import run
from salus_ros.prediction.checkpoint import checkpoint_file, load_checkpoint
from salus_ros.prediction.model import FailureModel
from salus_ros.prediction.predictor import NO_CHECKPOINT, SIGNAL_AGE, FailurePredictor

PARAMETERS = (
    Parameter(
        "checkpoint",
        "",
        "Trained failure predictor (.safetensors): a path, or the name of one in config/. Empty: "
        "predictions are marked invalid.",
    ),
    Parameter(
        "signal_age",
        SIGNAL_AGE,
        "Signals of an older observation are stale: their prediction is marked invalid [s].",
        0.05,
        60.0,
    ),
)


class FailurePredictorNode(ManagedNode):
    """Thin: everything is computed by FailurePredictor."""

    def __init__(self) -> None:
        super().__init__("failure_predictor", PARAMETERS)

    def configure(self) -> None:
        """Load the checkpoint; one of another layout is refused."""
        self._predictor = FailurePredictor(self._model(), self.parameter("signal_age"))

    def _model(self) -> FailureModel | None:
        checkpoint = self.parameter("checkpoint")
        if not checkpoint:
            self.get_logger().warning(NO_CHECKPOINT)
            return None
        return load_checkpoint(checkpoint_file(checkpoint))

    def activate(self) -> None:
        """Begin with an empty window."""
        self._predictor.reset()
        self._predictions = self.publish_on(
            FailurePredictionMessage, topics.FAILURE_PREDICTION, qos.SIGNALS
        )
        self.subscribe(SignalsMessage, topics.SIGNALS, self._on_signals, qos.SIGNALS)

    def _on_signals(self, message: SignalsMessage) -> None:
        stamp = conversions.stamp_of(message.header.stamp)
        result = self._predictor.on_signals(
            message.source_id,
            message.chunk_number,
            message.step,
            stamp,
            conversions.signal_vector(message),
            seconds(self.now() - stamp),
        )
        self._predictions.publish(conversions.failure_prediction_message(result))


def main() -> None:
    """Entry point."""
    sys.exit(run(FailurePredictorNode))


if __name__ == "__main__":
    main()
