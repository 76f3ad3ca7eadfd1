"""Plain types from messages, each function named after its result.

Messages are taken by their fields: rclpy's in the nodes, rosbags' in replay. A conversion raises
ValueError, with one line, where a message can't be what it claims to be; whether its content is
safe is for the supervisor to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from salus_ros.signals.layout import SIGNAL_NAMES, SignalVector
from salus_ros.supervision.trajectory_plan import Waypoints

IMAGE_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}
# ActionChunk.GRIPPER_UNIT_*.
GRIPPER_UNIT_NONE, GRIPPER_UNIT_METER, GRIPPER_UNIT_FRACTION = 0, 1, 2


def stamp_of(time: Any) -> int:
    """ROS time as nanoseconds."""
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def joint_state(message: Any, joint_names: Sequence[str], gripper_name: str) -> JointState:
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


def command(message: Any, joint_names: Sequence[str], gripper_name: str) -> JointCommand:
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


def action_chunk(message: Any, gripper_range: tuple[float, float]) -> ActionChunk:
    """Chunk from a message; a gripper given as a fraction of `gripper_range` [m] becomes metres.

    Raises ValueError where the actions don't divide into rows, or the unit and the name of the
    gripper contradict each other.
    """
    has_gripper = bool(message.gripper_name)
    if has_gripper != (message.gripper_unit != GRIPPER_UNIT_NONE):
        raise ValueError(
            f"gripper '{message.gripper_name}' with unit {message.gripper_unit}: name both or none"
        )
    columns = len(message.joint_names) + has_gripper
    if not columns or len(message.actions) % columns:
        raise ValueError(f"{len(message.actions)} actions don't divide into rows of {columns}")
    actions = np.array(message.actions, dtype=np.float64).reshape(-1, columns)
    if message.gripper_unit == GRIPPER_UNIT_FRACTION:
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


def policy_state(message: Any) -> PolicyState:
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


def image_array(message: Any) -> NDArray[np.uint8]:
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


def signal_vector(message: Any) -> SignalVector:
    """The 12 signals of a message, in their order."""
    values = np.array([getattr(message, name) for name in SIGNAL_NAMES], np.float32)
    return SignalVector(values, int(message.valid))


def waypoints(message: Any, most: int) -> Waypoints:
    """Points of a trajectory, as received; a stamp of zero is kept, it means "now".

    Raises ValueError where there are none, or more than `most`, or they differ in size.
    """
    points, joints = message.points, len(message.joint_names)
    if not 1 <= len(points) <= most:
        raise ValueError(f"the trajectory has {len(points)} points: give 1 to {most}")
    for number, point in enumerate(points):
        if len(point.positions) != joints or len(point.velocities) not in (0, joints):
            raise ValueError(
                f"point {number} has {len(point.positions)} positions and "
                f"{len(point.velocities)} velocities for {joints} joints"
            )
    moving = all(len(point.velocities) == joints for point in points)
    times = [stamp_of(point.time_from_start) for point in points]
    return Waypoints(
        stamp=stamp_of(message.header.stamp),
        names=tuple(message.joint_names),
        times=np.array([seconds(time) for time in times]),
        positions=np.array([point.positions for point in points], np.float64),
        velocities=np.array([point.velocities for point in points]) if moving else None,
    )


def block_poses(message: Any) -> tuple[BlockPose, ...]:
    """True block poses from the rig's markers."""
    return tuple(_block_pose(marker) for marker in message.markers)


def _block_pose(marker: Any) -> BlockPose:
    p, q = marker.pose.position, marker.pose.orientation
    return BlockPose(marker.ns, np.array([p.x, p.y, p.z]), 2.0 * float(np.arctan2(q.z, q.w)))
