"""Messages made without ROS (replay/messages.py) are those that the nodes publish."""

from dataclasses import fields

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState as JointStateMessage

from salus_ros.interfaces import (
    ActionChunk,
    ActionDistribution,
    EarlyExit,
    Instant,
    JointCommand,
    JointState,
    PolicyState,
)
from salus_ros.nodes import conversions
from salus_ros.nodes.command_message import CommandMessage
from salus_ros.prediction.layout import PredictionResult
from salus_ros.replay.messages import MessageEncoder
from salus_ros.signals.layout import SIGNALS, SignalVector
from salus_ros.signals.monitor import StepSignals
from salus_ros.signals.step_clock import DueStep
from salus_ros.sim.episode import EpisodeStatus, Phase
from salus_ros.supervision.gate_state import GateState
from salus_ros.supervision.interventions import Intervention, Kind
from salus_ros.supervision.journal.chain import Head
from salus_ros.supervision.modes import Mode

NAMES = tuple(f"joint{i}" for i in range(7))
GRIPPER = "gripper"
NOW = 12_345_678_901
SEVEN = np.linspace(-1.5, 1.5, 7)
STATE = JointState(NOW, SEVEN, SEVEN / 2, SEVEN * 3, 0.04)
COMMAND = JointCommand(NOW, SEVEN, SEVEN / 3, SEVEN, 0.02)
CHUNK = ActionChunk(
    "a", 3, NAMES, GRIPPER, NOW, 33_333_333, np.arange(24.0).reshape(3, 8), 1, 2, NOW - 5
)
POLICY = PolicyState(
    "a", 3, NOW, "pick", np.arange(5, dtype=np.float32), ActionDistribution(8, 0.25, 0.75),
    (EarlyExit("image", -1, 0.5),), {"vision": 0.125}, 2,
)  # fmt: skip
DUE = StepSignals(
    DueStep("a", 3, 1, NOW + 7, NOW, np.zeros(8)),
    SignalVector(np.linspace(0, 1, SIGNALS, dtype=np.float32), 0b101010101010),
)
PREDICTION = PredictionResult(
    "a", 3, 1, NOW, True, (0.25, 0.5), ("drop", "miss"),
    np.array([[0.25, 0.5], [0.5, 0.75]], np.float32), 0.5, 0.25, 0.125, True,
)  # fmt: skip
INTERVENTION = Intervention(
    Instant(NOW, 1),
    4,
    Mode.NOMINAL,
    Mode.HOLD,
    Kind.END,
    "why",
    "because",
    "a",
    3,
    1.5,
    1.0,
    9,
    2.5,
)
EPISODE = EpisodeStatus(2, 17, "pick", "latency", Phase.ENDED, False, "drop", 1.5, 4.25)


def gate_state():
    """Every field holds something else than nothing."""
    values = {
        "mode": Mode.HOLD,
        "reasons": ("a", "b"),
        "source_id": "a",
        "text": "",
        "at_rest": True,
    }
    numbers = {f.name: 0.25 if f.type == "float" else 7 for f in fields(GateState)}
    return GateState(**{**numbers, **values})


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (STATE, conversions.joint_state_message(STATE, NAMES, GRIPPER)),
        (
            COMMAND,
            deserialize_message(
                CommandMessage(NAMES, GRIPPER).serialized(COMMAND), JointStateMessage
            ),
        ),
        (CHUNK, conversions.action_chunk_message(CHUNK)),
        (POLICY, conversions.policy_state_message(POLICY)),
        (DUE, conversions.signals_message(DUE)),
        (PREDICTION, conversions.failure_prediction_message(PREDICTION)),
        (INTERVENTION, conversions.intervention_message(INTERVENTION)),
        (EPISODE, conversions.episode_message(EPISODE, NOW)),
        (
            gate_state(),
            conversions.supervisor_state_message(gate_state(), NOW, False, Head(0, "")),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_they_are_the_same(thing, expected):
    _, kind, data = MessageEncoder(NAMES, GRIPPER).encode(thing, NOW)
    assert kind == f"{type(expected).__module__.partition('.')[0]}/msg/{type(expected).__name__}"
    assert deserialize_message(data, type(expected)) == expected


def test_images_are_the_same():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    expected = conversions.image_message(image, NOW, "front_camera")
    _, _, data = MessageEncoder(NAMES, GRIPPER).image("front", image, NOW)
    assert deserialize_message(data, type(expected)) == expected
