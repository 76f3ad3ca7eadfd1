"""The client of `salus bench gate`: gives the supervisor what its checks wait for."""

from __future__ import annotations

from typing import Any

from salus_msgs.msg import FailurePrediction
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from salus_ros.nodes import qos, topics
from salus_ros.nodes.bench_gate import BARE_COMMANDS
from salus_ros.nodes.graph_client import GraphClient

HORIZONS = (1.0, 3.0, 5.0)  # s
TYPES = ("grasp_miss", "slip", "collision")
PREDICTION_PERIOD, ENABLE_PERIOD = 0.1, 0.05  # s


class BenchClient(GraphClient):
    """Publishes an enable switch and a prediction of no failure, and reads the bare node, too."""

    def __init__(self) -> None:
        super().__init__(_ignore, _ignore, _ignore)
        node = self.node
        node.create_subscription(JointState, BARE_COMMANDS, _ignore, qos.EVERY_COMMAND)
        self._predictions = node.create_publisher(
            FailurePrediction, topics.FAILURE_PREDICTION, qos.SIGNALS
        )
        self._enable = node.create_publisher(Bool, topics.ENABLE, qos.HEARTBEAT)
        node.create_timer(PREDICTION_PERIOD, self._predict)
        node.create_timer(ENABLE_PERIOD, lambda: self._enable.publish(Bool(data=True)))

    def _predict(self) -> None:
        message = FailurePrediction(valid=True)
        message.header.stamp = self.node.get_clock().now().to_msg()
        message.horizons, message.failure_types = list(HORIZONS), list(TYPES)
        message.probabilities = [0.01] * (len(HORIZONS) * len(TYPES))
        self._predictions.publish(message)


def _ignore(*_: Any) -> None:
    """Nothing is noted in this process."""
