"""Checks 1, 2, 4 and 6 of a chunk: shape and names, finiteness, limits and space.

**How limits are judged.** Up to `excess_allowed` (2) times the robot's own limits is LIMITED,
beyond is a hard fault, and so is a row outside the position limits. Velocity, acceleration and jerk
are divided differences of the rows, over spans of at least `velocity_span` (1/30 s) and
`curvature_span` (0.1 s). Over a single row, acceleration and jerk say nothing of the motion that is
asked for: noise of 0.01 rad at 30 Hz, which the generator is meant to follow as closely as it may,
makes second differences of up to 36 rad/s^2, five times a Panda's limit. Over 0.1 s the same
noise makes at most 4 rad/s^2, while a real demand beyond the limits shows in full: an
acceleration that an arm can feel lasts, for at full jerk it takes 2 ms to build up and at
operating limits tens of milliseconds. A single wild row shows in the velocity (0.15 rad at 30 Hz is
2x for a Panda). A plan too short for such a span is judged by its velocity alone. A gripper's
rate is no fault: policies open and close it in one step, and the command is slewed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import isfinite, nan
from typing import Final

import numpy as np

from salus_ros.interfaces import NANOSECONDS, ActionChunk, FloatArray
from salus_ros.supervision.arm_kinematics import distance, posture
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.limits import ArmLimits, GripperLimits, RobotLimits
from salus_ros.supervision.reference import Row

# A row so far outside a range is rounding of 32-bit policies, and moved into it.
POSITION_TOLERANCE: Final = 1e-4
GRIPPER_TOLERANCE: Final = 1e-3
# Rows closer than this carry no motion, only rounding [ns].
TIME_STEP_MIN: Final = 100_000
TIME_STEP_MAX: Final = NANOSECONDS


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a chunk was dropped; hard: the arm goes into HOLD (see spec of the modes)."""

    reason: str
    message: str
    hard: bool
    value: float = nan
    bound: float = nan


@dataclass(frozen=True, slots=True)
class CheckedActions:
    """A chunk's rows in the order of the robot's joints, finite and inside the position limits.

    rows [n, joints] rad; widths [n] m (None: no gripper column); excess: the largest ratio of a
    divided difference to the robot's limit; passed: rows that are over.
    """

    rows: FloatArray
    widths: FloatArray | None
    excess: float
    passed: int


def check_actions(
    chunk: ActionChunk, limits: RobotLimits, config: GateConfig, now: int
) -> CheckedActions | Rejection:
    """Checks 1, 2 and 4 in their order; never raises for any content of the right types.

    What the plan asks for is judged from the row in force at `now` [ns, the plan's clock] on: the
    rows before it are over, and after a HOLD the arm has left them anyway.
    """
    columns = column_order(chunk, limits)
    if isinstance(columns, Rejection):
        return columns
    fault = check_shape(chunk, len(columns), config)
    if fault is not None:
        return fault
    actions = np.asarray(chunk.actions, dtype=np.float64)
    # Few calls of numpy: its code is cold by the time that a chunk comes.
    least: list[float] = actions.min(axis=0).tolist()
    most: list[float] = actions.max(axis=0).tolist()
    fault = check_finite(actions, [*least, *most])
    if fault is not None:
        return fault
    joints = columns[: len(limits.arm.names)]
    arm = actions[:, joints]
    ends = [least[column] for column in joints], [most[column] for column in joints]
    beyond = _beyond(*ends, limits.arm)
    widths = actions[:, -1] if chunk.gripper_name else None
    fault = check_positions(arm, beyond, limits.arm)
    if fault is None and widths is not None:
        fault = check_widths(least[-1], most[-1], limits.gripper)
    if fault is not None:
        return fault
    passed = min(max((now - chunk.start_time) // chunk.time_step, 0), len(arm) - 1)
    step = chunk.time_step / NANOSECONDS
    excess, quantity, joint = worst_excess(arm[passed:], step, limits.arm, config)
    if excess > config.excess_allowed:
        name = limits.arm.names[joint]
        text = f"{quantity} of {name} is {excess:.3g} times the robot's limit"
        return Rejection(f"chunk_{quantity}", text, True, excess, config.excess_allowed)
    if beyond > 0.0:
        arm = np.clip(arm, limits.arm.lower, limits.arm.upper)
    gripper = limits.gripper
    if gripper is None:
        widths = None
    elif widths is not None and (least[-1] < gripper.closed or most[-1] > gripper.open):
        widths = np.clip(widths, gripper.closed, gripper.open)
    return CheckedActions(arm, widths, excess, passed)


def check_space(
    rows: FloatArray, first: int, step: float, limits: RobotLimits, config: GateConfig
) -> Rejection | None:
    """Check 6: rows [n, joints], `step` s apart, in the workspace, the tool not far too fast.

    first: the first one's number in the chunk.

    A tool up to `excess_allowed` times too fast is no fault: the plan is then followed slower.
    """
    space = limits.workspace
    if space is None:
        return None
    places = [posture(row, space.tool) for row in rows.tolist()]
    margin, row, text = space.worst(places)
    if margin < 0:
        return Rejection("chunk_workspace", f"row {first + row}: {text}", True, margin, 0.0)
    span = min(rows_in(config.curvature_span, step), max(len(places) - 1, 1))
    way = 0.0
    for here, there in zip(places, places[span:]):
        way = max(way, distance(here.tool, there.tool))
    speed, bound = way / (span * step), config.excess_allowed * config.tool_speed
    if speed > bound:
        text = f"the tool moves at {speed:.3g} m/s, beyond {bound:.3g}"
        return Rejection("chunk_tool_speed", text, True, speed, bound)
    return None


def column_order(chunk: ActionChunk, limits: RobotLimits) -> list[int] | Rejection:
    """Column of each of the robot's joints, then the gripper's; any order of names is accepted."""
    names = tuple(chunk.joint_names)
    if sorted(names) != sorted(limits.arm.names):
        missing = sorted(set(limits.arm.names) - set(names))
        unknown = sorted(set(names) - set(limits.arm.names))
        text = f"joints missing {missing}, unknown {unknown} or repeated, of {len(names)} names"
        return Rejection("chunk_names", text, hard=True)
    gripper = "" if limits.gripper is None else limits.gripper.name
    if chunk.gripper_name not in ("", gripper):
        text = f"gripper '{chunk.gripper_name}' is not '{gripper}'"
        return Rejection("chunk_names", text, hard=True)
    columns = [names.index(name) for name in limits.arm.names]
    return [*columns, len(names)] if chunk.gripper_name else columns


def check_shape(chunk: ActionChunk, columns: int, config: GateConfig) -> Rejection | None:
    """Sizes, time step and identity."""
    shape = np.shape(chunk.actions)
    if len(shape) != 2 or shape[1] != columns or not 1 <= shape[0] <= config.rows_max:
        text = f"actions have shape {shape}: expected 1 to {config.rows_max} rows of {columns}"
        return Rejection("chunk_shape", text, hard=True)
    if not TIME_STEP_MIN <= chunk.time_step <= TIME_STEP_MAX:
        text = f"time step is {chunk.time_step} ns: expected {TIME_STEP_MIN} to {TIME_STEP_MAX}"
        return Rejection("chunk_time_step", text, hard=True, value=float(chunk.time_step))
    if not chunk.source_id:
        return Rejection("chunk_source", "the source id is empty", hard=True)
    return None


def check_finite(actions: FloatArray, extremes: list[float]) -> Rejection | None:
    """NaN and infinities, before any comparison: a clamp lets NaN through.

    extremes: the least and the largest of each column; NaN where the column has one.
    """
    if all(map(isfinite, extremes)):
        return None
    row, column = np.argwhere(~np.isfinite(actions))[0]
    text = f"row {row}, column {column} is {actions[row, column]}"
    return Rejection("chunk_not_finite", text, hard=True)


def check_positions(rows: FloatArray, farthest: float, limits: ArmLimits) -> Rejection | None:
    """Rows [n, joints] against the robot's position limits; farthest [rad]: see `_beyond`."""
    if farthest <= POSITION_TOLERANCE:
        return None
    low, high = np.asarray(limits.lower), np.asarray(limits.upper)
    beyond = np.maximum(low - rows, rows - high)
    row, joint = np.unravel_index(int(beyond.argmax()), beyond.shape)
    value = float(rows[row, joint])
    bound = limits.lower[joint] if value < limits.lower[joint] else limits.upper[joint]
    text = f"row {row}: {limits.names[joint]} at {value:.4g} rad is beyond its limit {bound:.4g}"
    return Rejection("chunk_position", text, True, value, bound)


def _beyond(least: Row, most: Row, limits: ArmLimits) -> float:
    """How far a range of positions [rad] reaches out of the limits at most; 0: not."""
    farthest = 0.0
    for low, high, lower, upper in zip(least, most, limits.lower, limits.upper):
        farthest = max(farthest, max(lower - low, high - upper))
    return farthest


def check_widths(least: float, most: float, limits: GripperLimits | None) -> Rejection | None:
    """Smallest and largest opening width [m] against the gripper's range."""
    if limits is None:
        return None
    for width in (least, most):
        bound = limits.closed if width < limits.closed else limits.open
        if not limits.closed - GRIPPER_TOLERANCE <= width <= limits.open + GRIPPER_TOLERANCE:
            text = (
                f"{limits.name} at {width:.4g} m is beyond its limit {bound:.4g}: is it in metres?"
            )
            return Rejection("chunk_gripper", text, True, width, bound)
    return None


def worst_excess(
    rows: FloatArray, step: float, limits: ArmLimits, config: GateConfig
) -> tuple[float, str, int]:
    """Largest ratio of a divided difference to the robot's limit, its quantity and joint."""
    short = min(rows_in(config.velocity_span, step), max(len(rows) - 1, 1))
    long = rows_in(config.curvature_span, step)
    slopes = _difference(rows, long)
    bends = _difference(slopes, long)
    worst, worst_quantity, worst_joint = 0.0, "velocity", 0
    for quantity, differences, scale, bounds in (
        ("velocity", _difference(rows, short), short * step, limits.velocity),
        ("acceleration", bends, (long * step) ** 2, limits.acceleration),
        ("jerk", _difference(bends, long), (long * step) ** 3, limits.jerk),
    ):
        if not len(differences):
            continue
        peaks: Row = np.abs(differences).max(axis=0).tolist()
        for joint in range(len(peaks)):
            ratio = peaks[joint] / scale / bounds[joint]
            if ratio > worst:
                worst, worst_quantity, worst_joint = ratio, quantity, joint
    return worst, worst_quantity, worst_joint


def _difference(rows: FloatArray, span: int) -> FloatArray:
    """Of each row from the one `span` before; empty where the rows are too few."""
    return rows[span:] - rows[:-span]


def rows_in(span: float, step: float) -> int:
    """Rows `step` s apart that span at least `span` s."""
    return max(1, math.ceil(span / step - 1e-6))


def jump(row: Row, commanded: Row) -> tuple[float, int]:
    """Largest distance [rad] of a plan from the commanded positions, and its joint."""
    worst, joint = 0.0, 0
    for j in range(len(row)):
        distance = abs(row[j] - commanded[j])
        if distance > worst:
            worst, joint = distance, j
    return worst, joint
