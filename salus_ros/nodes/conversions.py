"""Between ROS messages and the plain types of `salus_ros.interfaces`, each named after its result.

A conversion raises ValueError, with one line, where a message can't be what it claims to be;
whether its content is safe is for the supervisor to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    ActionDistribution,
    BlockPose,
    EarlyExit,
    JointCommand,
    JointState,
    PolicyState,
    nanoseconds,
    seconds,
)
from salus_ros.prediction.layout import PredictionResult
from salus_ros.signals.layout import SIGNAL_NAMES, SignalVector
from salus_ros.signals.monitor import StepSignals
from salus_ros.supervision.gate import GateState
from salus_ros.supervision.interventions import Intervention
from salus_ros.supervision.journal.chain import Head

if TYPE_CHECKING:
    from salus_ros.sim.episode import EpisodeStatus

COLORS = {
    "red": (0.85, 0.1, 0.1),
    "green": (0.1, 0.65, 0.15),
    "blue": (0.1, 0.25, 0.85),
    "yellow": (0.9, 0.8, 0.1),
}
IMAGE_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}


def time_message(stamp: int) -> Time:
    """Nanoseconds as a ROS time."""
    return Time(sec=stamp // NANOSECONDS, nanosec=stamp % NANOSECONDS)


def stamp_of(time: Time) -> int:
    """ROS time as nanoseconds."""
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def joint_state(
    message: JointStateMessage, joint_names: Sequence[str], gripper_name: str
) -> JointState:
    """Joint state in the order of `joint_names`; joints of no interest are left out.

    The gripper is optional. Raises ValueError for a missing joint or lists of unequal length.
    """
    index = {name: i for i, name in enumerate(message.name)}
    missing = [name for name in joint_names if name not in index]
    if missing:
        raise ValueError(f"joint state lacks {', '.join(missing)}; it has {list(message.name)}")
    order = [index[name] for name in joint_names]
    _check_length("position", message.position, len(message.name))
    gripper = message.position[index[gripper_name]] if gripper_name in index else None
    return JointState(
        stamp=stamp_of(message.header.stamp),
        positions=np.array([message.position[i] for i in order]),
        velocities=_optional(message.velocity, order, len(message.name), "velocity"),
        efforts=_optional(message.effort, order, len(message.name), "effort"),
        gripper=gripper,
    )


def _check_length(what: str, values: Sequence[float], length: int) -> None:
    if len(values) != length:
        raise ValueError(f"joint state names {length} joints but has {len(values)} {what} values")


def _optional(
    values: Sequence[float], order: Sequence[int], length: int, what: str
) -> NDArray[np.float64]:
    if not len(values):
        return np.empty(0)
    _check_length(what, values, length)
    return np.array([values[i] for i in order])


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


def command(
    message: JointStateMessage, joint_names: Sequence[str], gripper_name: str
) -> JointCommand:
    """Command received by a robot's side; raises ValueError as `joint_state` does."""
    state = joint_state(message, joint_names, gripper_name)
    if state.velocities.size != len(joint_names):
        raise ValueError("joint command without velocities: give one for each joint")
    return JointCommand(
        state.stamp,
        state.positions,
        state.velocities,
        np.zeros(len(joint_names)),
        state.gripper,
    )


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


def action_chunk(message: ActionChunkMessage, gripper_range: tuple[float, float]) -> ActionChunk:
    """Chunk from a message; a gripper given as a fraction of `gripper_range` [m] becomes metres.

    Raises ValueError where the actions don't divide into rows, or the unit and the name of the
    gripper contradict each other.
    """
    has_gripper = bool(message.gripper_name)
    if has_gripper != (message.gripper_unit != ActionChunkMessage.GRIPPER_UNIT_NONE):
        raise ValueError(
            f"gripper '{message.gripper_name}' with unit {message.gripper_unit}: name both or none"
        )
    columns = len(message.joint_names) + has_gripper
    if not columns or len(message.actions) % columns:
        raise ValueError(f"{len(message.actions)} actions don't divide into rows of {columns}")
    actions = np.array(message.actions, dtype=np.float64).reshape(-1, columns)
    if message.gripper_unit == ActionChunkMessage.GRIPPER_UNIT_FRACTION:
        low, high = gripper_range
        actions[:, -1] = low + actions[:, -1] * (high - low)
    return ActionChunk(
        source_id=message.source_id,
        number=message.chunk_number,
        joint_names=tuple(message.joint_names),
        gripper_name=message.gripper_name,
        start_time=stamp_of(message.start_time),
        time_step=_finite_nanoseconds(message.time_step),
        actions=actions,
        first_fresh_step=message.first_fresh_step,
        execution_horizon=message.execution_horizon,
        observation_stamp=stamp_of(message.header.stamp),
    )


def _finite_nanoseconds(value: float) -> int:
    if not np.isfinite(value) or abs(value) > 3600:
        raise ValueError(f"time step of {value} s: give a positive number of seconds")
    return nanoseconds(value)


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


def policy_state(message: PolicyStateMessage) -> PolicyState:
    """Policy state from a message; raises ValueError where its lists differ in length."""
    exits = zip(message.exit_routes, message.exit_layers, message.exit_ratios, strict=True)
    stages = zip(message.stage_names, message.stage_durations, strict=True)
    distribution = ActionDistribution(
        message.distribution_samples, message.softmax_entropy, message.max_softmax_prob
    )
    return PolicyState(
        source_id=message.source_id,
        chunk_number=message.chunk_number,
        observation_stamp=stamp_of(message.header.stamp),
        instruction=message.instruction,
        latent=np.array(message.latent, dtype=np.float32),
        distribution=distribution if message.distribution_samples > 1 else None,
        exits=tuple(EarlyExit(*e) for e in exits),
        stage_seconds=dict(stages),
        inference_delay_steps=message.inference_delay_steps,
    )


def image_array(message: Image) -> NDArray[np.uint8]:
    """RGB image [height, width, 3]; a copy.

    Raises ValueError for another encoding than rgb8, bgr8, rgba8 or bgra8, or data that don't fit
    the size.
    """
    channels = IMAGE_CHANNELS.get(message.encoding)
    if channels is None:
        known = ", ".join(IMAGE_CHANNELS)
        raise ValueError(f"image encoding '{message.encoding}' is not one of {known}")
    row = message.width * channels
    if message.step < row or len(message.data) != message.step * message.height or not row:
        raise ValueError(
            f"image of {message.width} x {message.height} {message.encoding} with step "
            f"{message.step} has {len(message.data)} bytes"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, :row]
    image = rows.reshape(message.height, message.width, channels)[..., :3]
    return (image[..., ::-1] if message.encoding.startswith("bgr") else image).copy()


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


def block_poses(message: MarkerArray) -> tuple[BlockPose, ...]:
    """True block poses from the rig's markers."""
    return tuple(_block_pose(marker) for marker in message.markers)


def _block_pose(marker: Marker) -> BlockPose:
    p, q = marker.pose.position, marker.pose.orientation
    return BlockPose(marker.ns, np.array([p.x, p.y, p.z]), 2.0 * float(np.arctan2(q.z, q.w)))


def episode_message(status: EpisodeStatus, stamp: int) -> EpisodeMessage:
    """Episode status of the simulated rig as a message."""
    message = EpisodeMessage(header=Header(stamp=time_message(stamp)))
    for name in ("number", "seed", "instruction", "disturbance", "success", "failure_type"):
        setattr(message, name, getattr(status, name))
    message.phase = int(status.phase)
    message.failure_onset = status.failure_onset
    message.end = status.end
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


def signal_vector(message: SignalsMessage) -> SignalVector:
    """The 12 signals of a message, in their order."""
    values = np.array([getattr(message, name) for name in SIGNAL_NAMES], np.float32)
    return SignalVector(values, int(message.valid))


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
