"""The predictor node: signals in, probabilities of failure and an alarm out."""

from __future__ import annotations

import sys

from salus_msgs.msg import FailurePrediction as FailurePredictionMessage
from salus_msgs.msg import Signals as SignalsMessage

from salus_ros.nodes import conversions, qos, topics
from salus_ros.nodes.managed_node import ConfigurationError, ManagedNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.run import run
from salus_ros.prediction.predictor import NO_CHECKPOINT, FailurePredictor
from salus_ros.prediction.window import WINDOW_STEPS

PARAMETERS = (
    Parameter(
        "checkpoint",
        "",
        "Trained failure predictor (.safetensors). Empty: predictions are marked invalid.",
    ),
    Parameter("window_steps", WINDOW_STEPS, "Steps that the predictor looks at.", 1, 1000),
)


class FailurePredictorNode(ManagedNode):
    """Thin: everything is computed by FailurePredictor."""

    def __init__(self) -> None:
        super().__init__("failure_predictor", PARAMETERS)

    def configure(self) -> None:
        """Make the predictor."""
        checkpoint = self.parameter("checkpoint")
        if checkpoint:
            raise ConfigurationError(
                f"checkpoint '{checkpoint}': this version has no trained predictor; leave it empty"
            )
        self.get_logger().warning(NO_CHECKPOINT)
        self._predictor = FailurePredictor(self.parameter("window_steps"))

    def activate(self) -> None:
        """Begin with an empty window."""
        self._predictor.reset()
        self._predictions = self.publish_on(
            FailurePredictionMessage, topics.FAILURE_PREDICTION, qos.SIGNALS
        )
        self.subscribe(SignalsMessage, topics.SIGNALS, self._on_signals, qos.SIGNALS)

    def _on_signals(self, message: SignalsMessage) -> None:
        result = self._predictor.on_signals(
            message.source_id,
            message.chunk_number,
            message.step,
            conversions.stamp_of(message.header.stamp),
            conversions.signal_vector(message),
        )
        self._predictions.publish(conversions.failure_prediction_message(result))


def main() -> None:
    """Entry point."""
    sys.exit(run(FailurePredictorNode))


if __name__ == "__main__":
    main()
