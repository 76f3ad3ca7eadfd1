"""The predictor node: refuses a checkpoint that doesn't fit, and says what the model says."""

import json

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS: run `make build`")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from salus_msgs.msg import FailurePrediction, Signals  # noqa: E402

from salus_ros.nodes import qos, topics  # noqa: E402
from salus_ros.nodes.conversions import time_message  # noqa: E402
from salus_ros.nodes.failure_predictor import FailurePredictorNode  # noqa: E402
from salus_ros.prediction.alarm import Band  # noqa: E402
from salus_ros.prediction.checkpoint import FORMAT, save_checkpoint  # noqa: E402
from salus_ros.prediction.features import Normalisation  # noqa: E402
from salus_ros.prediction.model import FailureModel  # noqa: E402
from salus_ros.prediction.network import Network, NetworkConfig  # noqa: E402
from salus_ros.prediction.platt import Platt  # noqa: E402
from salus_ros.signals.layout import ALL_VALID, SIGNAL_NAMES  # noqa: E402

FAILURE, SUCCESS = TransitionCallbackReturn.FAILURE, TransitionCallbackReturn.SUCCESS


def write_model(file):
    """A model that always says 0.5, and whose alarm is on."""
    config = NetworkConfig(layers=2, hidden=4)
    weights = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    ones = np.ones(12, np.float32)
    model = FailureModel(
        network=Network(config, weights),
        normalisation=Normalisation(0 * ones, ones),
        table=Platt(np.full((4, 4), 1e-6), np.zeros((4, 4))),
        episode=Platt(np.ones(1), np.zeros(1)),
        band=Band(np.array([-1.0])),
    )
    save_checkpoint(file, model)


@pytest.fixture
def node(own_domain, request):
    rclpy.init()
    made = FailurePredictorNode()
    yield made
    made.destroy_node()
    rclpy.shutdown()


def configured_with(node, file):
    node.set_parameters([Parameter("checkpoint", value=str(file))])
    return node.trigger_configure()


def test_a_checkpoint_of_another_layout_fails_at_configure(node, tmp_path):
    from safetensors.numpy import save_file

    file = tmp_path / "old.safetensors"
    header = {"kind": "salus failure predictor", "format": FORMAT, "signal_names": ["x"] * 18}
    save_file({"a": np.zeros(1)}, str(file), {"salus": json.dumps(header)})
    assert configured_with(node, file) == FAILURE
    assert configured_with(node, tmp_path / "none.safetensors") == FAILURE
    write_model(tmp_path / "good.safetensors")
    assert configured_with(node, tmp_path / "good.safetensors") == SUCCESS


def signals(node, age, step):
    message = Signals(source_id="a", chunk_number=1, step=step, valid=ALL_VALID)
    for name in SIGNAL_NAMES:
        setattr(message, name, 0.5)
    message.header.stamp = time_message(node.get_clock().now().nanoseconds - round(age * 1e9))
    return message


def test_predictions_are_published_and_those_from_stale_signals_marked(node, tmp_path):
    write_model(tmp_path / "good.safetensors")
    assert configured_with(node, tmp_path / "good.safetensors") == SUCCESS
    assert node.trigger_activate() == SUCCESS
    other = Node("other")
    got = []
    other.create_subscription(FailurePrediction, topics.FAILURE_PREDICTION, got.append, qos.SIGNALS)
    publisher = other.create_publisher(Signals, topics.SIGNALS, qos.SIGNALS)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(other)
    try:
        for step, age in enumerate((0.1, 60.0)):
            told = {}
            while step not in told:  # The test's time limit ends it.
                publisher.publish(signals(node, age, step))
                executor.spin_once(timeout_sec=0.1)
                told = {message.step: message for message in got}
            fresh = age < 1.0
            assert told[step].source_id == "a"
            assert told[step].valid == told[step].alarm == fresh
            np.testing.assert_allclose(told[step].probabilities, 0.5 if fresh else 0.0, atol=1e-4)
    finally:
        executor.shutdown()
        other.destroy_node()
