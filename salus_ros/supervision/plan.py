"""An accepted chunk as a plan in time."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from salus_ros.interfaces import (
    NANOSECONDS,
    ActionChunk,
    FloatArray,
    Instant,
    seconds,
)
from salus_ros.supervision.arm_kinematics import Tool, posture, tool_jacobian, tool_speed
from salus_ros.supervision.chunk_checks import CheckedActions
from salus_ros.supervision.freshness import Aged
from salus_ros.supervision.reference import (
    KNOT_SPACING_MIN,
    Curve,
    Row,
    control_points,
)

# Rows kept around those that can be followed: a spline's memory is shorter.
ROWS_AROUND: Final = 8
# The clock is slowed for what the tool does so far ahead [s]: its ramp needs the time.
SPEED_AHEAD: Final = 0.5


@dataclass(slots=True)
class Plan:
    """What is followed: curves over the time [s] since `start` [ns of the ROS clock].

    reference: the curve to follow; raw: the one through every row, that deviations are measured
    from; widths: the gripper's, row by row (None: it keeps its command); end [s]; tool_speeds: the
    tool's largest speed [m/s] soon after each knot of `reference` (empty: unknown); passes: how
    often `reference` was smoothed.
    """

    source_id: str
    number: int
    start: int
    step: int
    rows: int
    observation_stamp: int
    observation: Aged
    reference: Curve
    raw: Curve
    widths: list[float] | None
    end: float
    excess: float
    tool_speeds: list[float]
    passes: int

    def since_start(self, time: int) -> float:
        """A time of the plan's clock [ns] as seconds since its start."""
        return seconds(time - self.start)

    def row(self, time: int) -> int:
        """The row in force at a time [ns], 0 to rows - 1."""
        return min(max((time - self.start) // self.step, 0), self.rows - 1)

    def width(self, time: int) -> float | None:
        """Gripper's opening width [m] at a time [ns]: the row in force, as a step."""
        return None if self.widths is None else self.widths[self.row(time)]

    def tool_speed(self, time: float) -> float:
        """The tool's largest speed [m/s] in the next SPEED_AHEAD s from a time [s] on."""
        return self.tool_speeds[self.reference.segment(time)[0]] if self.tool_speeds else 0.0

    def shift(self, jump: int) -> None:
        """Follow a jump of the ROS clock [ns]."""
        self.start += jump
        self.observation_stamp += jump
        self.observation.shift(jump)


@dataclass(frozen=True, slots=True)
class Window:
    """The rows [n, joints] of a chunk that can be followed, `step` s apart from `start` s on."""

    rows: FloatArray
    start: float
    step: float

    def curve(self, points: FloatArray) -> Curve:
        """The curve of control points that were made of these rows."""
        return Curve(points, self.start, self.step)


def followed_window(chunk: ActionChunk, rows: FloatArray, begin: int, until: int) -> Window:
    """Rows for a curve from `begin` to `until` [ns], as far as the chunk has them."""
    rows = rows if len(rows) > 1 else np.repeat(rows, 2, axis=0)
    stride = max(1, ceil(KNOT_SPACING_MIN * NANOSECONDS / chunk.time_step))
    reach = ROWS_AROUND * stride
    first_followed = (begin - chunk.start_time) // chunk.time_step
    last_followed = (until - chunk.start_time) // chunk.time_step
    first = max(0, min(first_followed - reach, len(rows) - 2))
    last = last_followed + reach + 1
    window = rows[first : max(last, first + 2) : stride]
    if len(window) < 2:
        window = rows[[first, len(rows) - 1]]
        stride = len(rows) - 1 - first
    return Window(window, seconds(first * chunk.time_step), seconds(stride * chunk.time_step))


def make_plan(
    chunk: ActionChunk, actions: CheckedActions, now: Instant, window: Window, passes: int
) -> Plan:
    """A plan for the moment, of a few rows: its curve is smoothed so often, feasible or not."""
    curve = window.curve(control_points(window.rows, passes))
    return Plan(
        source_id=chunk.source_id,
        number=chunk.number,
        start=chunk.start_time,
        step=chunk.time_step,
        rows=len(actions.rows),
        observation_stamp=chunk.observation_stamp,
        observation=Aged(chunk.observation_stamp, now),
        reference=curve,
        raw=curve,
        widths=None if actions.widths is None else actions.widths.tolist(),
        end=seconds((max(len(actions.rows), 2) - 1) * chunk.time_step),
        excess=actions.excess,
        tool_speeds=[],
        passes=passes,
    )


def tool_speeds_ahead(points: FloatArray, step: float, tool: Tool) -> list[float]:
    """For each segment of a curve the tool's largest speed [m/s] from there on for a while."""
    rows: list[Row] = points.tolist()
    speeds: list[float] = []
    for before, at, after in zip(rows, rows[1:], rows[2:]):
        knot = [(a + 4.0 * b + c) / 6.0 for a, b, c in zip(before, at, after)]
        velocities = [(c - a) / (2.0 * step) for a, c in zip(before, after)]
        speeds.append(tool_speed(tool_jacobian(posture(knot, tool)), velocities))
    count = ceil(SPEED_AHEAD / step) + 2
    return [max(speeds[k : k + count]) for k in range(len(speeds) - 1)]
