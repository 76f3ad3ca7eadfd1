"""Between ROS messages and the plain types of `salus_ros.interfaces`, each named after its result.

Those from messages need no ROS and are in `message_reading`, which replay shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Quaternion, Vector3
from numpy.typing import NDArray
from salus_msgs.msg import ActionChunk as ActionChunkMessage
from salus_msgs.msg import Episode as EpisodeMessage
from salus_msgs.msg import FailurePrediction as FailurePredictionMessage
from salus_msgs.msg import Intervention as InterventionMessage
from salus_msgs.msg import PolicyState as PolicyStateMessage
from salus_msgs.msg import Signals as SignalsMessage
from salus_msgs.msg import SupervisorState as SupervisorStateMessage
from sensor_msgs.msg import Image
from sensor_msgs.msg import JointState as JointStateMessage
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from salus_ros.interfaces import (
    NANOSECONDS,
    ActionChunk,
    BlockPose,
    JointState,
    PolicyState,
    seconds,
)
from salus_ros.message_reading import (
    action_chunk,
    block_poses,
    command,
    image_array,
    joint_state,
    policy_state,
    signal_vector,
    stamp_of,
)
from salus_ros.prediction.layout import PredictionResult
from salus_ros.signals.layout import SIGNAL_NAMES
from salus_ros.signals.monitor import StepSignals
from salus_ros.supervision.gate import GateState
from salus_ros.supervision.interventions import Intervention
from salus_ros.supervision.journal.chain import Head

if TYPE_CHECKING:
    from salus_ros.sim.episode import EpisodeStatus

# What `message_reading` has, by one name for the nodes.
__all__ = [
    "action_chunk",
    "block_poses",
    "command",
    "image_array",
    "joint_state",
    "policy_state",
    "signal_vector",
    "stamp_of",
]

COLORS = {
    "red": (0.85, 0.1, 0.1),
    "green": (0.1, 0.65, 0.15),
    "blue": (0.1, 0.25, 0.85),
    "yellow": (0.9, 0.8, 0.1),
}


def time_message(stamp: int) -> Time:
    """Nanoseconds as a ROS time."""
    return Time(sec=stamp // NANOSECONDS, nanosec=stamp % NANOSECONDS)


def joint_state_message(
    state: JointState, joint_names: Sequence[str], gripper_name: str
) -> JointStateMessage:
    """Joint state with the gripper, where there is one, as the last joint."""
    message = JointStateMessage(header=Header(stamp=time_message(state.stamp)))
    gripper = [] if state.gripper is None else [state.gripper]
    still = [0.0] * len(gripper)
    message.name = [*joint_names, *([gripper_name] if gripper else [])]
    message.position = [*state.positions.tolist(), *gripper]
    message.velocity = [*state.velocities.tolist(), *still] if state.velocities.size else []
    message.effort = [*state.efforts.tolist(), *still] if state.efforts.size else []
    return message


def action_chunk_message(chunk: ActionChunk) -> ActionChunkMessage:
    """Chunk as a message; its actions row by row."""
    has_gripper = bool(chunk.gripper_name)
    message = ActionChunkMessage(header=Header(stamp=time_message(chunk.observation_stamp)))
    message.source_id = chunk.source_id
    message.chunk_number = chunk.number
    message.joint_names = list(chunk.joint_names)
    message.gripper_name = chunk.gripper_name
    message.gripper_unit = int(has_gripper) * ActionChunkMessage.GRIPPER_UNIT_METER
    message.start_time = time_message(chunk.start_time)
    message.time_step = seconds(chunk.time_step)
    message.actions = chunk.actions.ravel().tolist()
    message.first_fresh_step = chunk.first_fresh_step
    message.execution_horizon = chunk.execution_horizon
    return message


def policy_state_message(state: PolicyState) -> PolicyStateMessage:
    """Policy state as a message."""
    message = PolicyStateMessage(header=Header(stamp=time_message(state.observation_stamp)))
    message.source_id = state.source_id
    message.chunk_number = state.chunk_number
    message.instruction = state.instruction
    message.latent = state.latent.tolist()
    if state.distribution is not None:
        message.distribution_samples = state.distribution.samples
        message.softmax_entropy = state.distribution.softmax_entropy
        message.max_softmax_prob = state.distribution.max_softmax_prob
    message.exit_routes = [e.route for e in state.exits]
    message.exit_layers = [e.layer for e in state.exits]
    message.exit_ratios = [e.ratio for e in state.exits]
    message.stage_names = list(state.stage_seconds)
    message.stage_durations = list(state.stage_seconds.values())
    message.inference_delay_steps = state.inference_delay_steps
    return message


def image_message(image: NDArray[np.uint8], stamp: int, frame: str) -> Image:
    """Image [height, width, 3] uint8 RGB as a message."""
    height, width, channels = image.shape
    message = Image(header=Header(stamp=time_message(stamp), frame_id=frame))
    message.height, message.width, message.step = height, width, width * channels
    message.encoding = "rgb8"
    # Assigning bytes makes rosidl check each one in Python; the underlying array takes them whole.
    message.data.frombytes(image.tobytes())
    return message


def block_markers(blocks: Sequence[BlockPose], stamp: int, size: float) -> MarkerArray:
    """Blocks as cubes of edge `size` [m], their colour as the marker's namespace."""
    return MarkerArray(markers=[_block_marker(block, stamp, size) for block in blocks])


def _block_marker(block: BlockPose, stamp: int, size: float) -> Marker:
    marker = Marker(header=Header(stamp=time_message(stamp), frame_id="base"), ns=block.color)
    marker.type = Marker.CUBE
    x, y, z = map(float, block.position)
    marker.pose.position = Point(x=x, y=y, z=z)
    marker.pose.orientation = Quaternion(z=np.sin(block.yaw / 2), w=np.cos(block.yaw / 2))
    marker.scale = Vector3(x=size, y=size, z=size)
    red, green, blue = COLORS.get(block.color, (0.5, 0.5, 0.5))
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    return marker


def episode_message(status: EpisodeStatus, stamp: int) -> EpisodeMessage:
    """Episode status of the simulated rig as a message."""
    message = EpisodeMessage(header=Header(stamp=time_message(stamp)))
    for field in fields(status):
        setattr(message, field.name, getattr(status, field.name))
    message.phase = int(status.phase)
    return message


def signals_message(due: StepSignals) -> SignalsMessage:
    """The signals of one executed step as a message."""
    step, signals = due.step, due.signals
    message = SignalsMessage(header=Header(stamp=time_message(step.observation_stamp)))
    message.source_id = step.source_id
    message.chunk_number = step.chunk_number
    message.step = step.step
    message.execution_time = time_message(step.execution_time)
    for name, value in zip(SIGNAL_NAMES, signals.values, strict=True):
        setattr(message, name, float(value))
    message.valid = int(signals.valid)
    return message


def failure_prediction_message(result: PredictionResult) -> FailurePredictionMessage:
    """A prediction as a message."""
    message = FailurePredictionMessage(header=Header(stamp=time_message(result.observation_stamp)))
    for name in ("source_id", "chunk_number", "step", "valid", "alarm"):
        setattr(message, name, getattr(result, name))
    message.horizons = list(result.horizons)
    message.failure_types = list(result.failure_types)
    message.probabilities = result.probabilities.ravel().tolist()
    message.episode_failure_probability = result.episode_failure_probability
    message.episode_score = result.episode_score
    message.alarm_threshold = result.alarm_threshold
    return message


def intervention_message(record: Intervention) -> InterventionMessage:
    """An act of the gate as a message."""
    message = InterventionMessage(header=Header(stamp=time_message(record.stamp.ros)))
    for name in ("sequence", "reason", "message", "source_id", "chunk_number", "count"):
        setattr(message, name, getattr(record, name))
    message.mode_before, message.mode_after = int(record.mode_before), int(record.mode_after)
    message.kind = int(record.kind)
    message.value, message.bound = float(record.value), float(record.bound)
    message.worst_value = float(record.worst_value)
    return message


def supervisor_state_message(
    state: GateState, stamp: int, realtime: bool, journal: Head
) -> SupervisorStateMessage:
    """The gate's state as a message; journal: its newest line on disk."""
    message = SupervisorStateMessage(header=Header(stamp=time_message(stamp)))
    message.mode = int(state.mode)
    message.reasons = list(state.reasons)
    for name in (
        "at_rest",
        "source_id",
        "chunk_number",
        "plan_step",
        "observation_age",
        "plan_deviation",
        "tracking_error",
        "commands_sent",
        "missed_deadlines",
        "chunks_accepted",
        "chunks_rejected",
        "interventions",
    ):
        setattr(message, name, getattr(state, name))
    message.realtime = realtime
    message.journal_sequence, message.journal_hash = journal.sequence, journal.hash
    return message
