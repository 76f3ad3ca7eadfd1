"""An accepted chunk as a plan in time."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from salus_ros.interfaces import (
    NANOSECONDS,
    ActionChunk,
    FloatArray,
    Instant,
    nanoseconds,
    seconds,
)
from salus_ros.supervision.arm_kinematics import Tool, posture, tool_jacobian, tool_speed
from salus_ros.supervision.chunk_checks import CheckedActions
from salus_ros.supervision.freshness import Aged
from salus_ros.supervision.reference import (
    KNOT_SPACING_MIN,
    Curve,
    CurveLimits,
    control_points,
    feasible_points,
)

# Rows kept around those that can be followed: a spline's memory is shorter.
ROWS_AROUND = 8
# The clock is slowed for what the tool does so far ahead [s]: its ramp needs the time.
SPEED_AHEAD = 0.5


@dataclass(slots=True)
class Plan:
    """What is followed: curves over the time [s] since `start` [ns of the ROS clock].

    reference: the curve to follow; raw: the one through every row, that deviations are measured
    from; widths: the gripper's, row by row (None: it keeps its command); end [s]; tool_speeds: the
    tool's largest speed [m/s] soon after each knot of `reference` (empty: unknown).
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


def make_plan(
    chunk: ActionChunk,
    actions: CheckedActions,
    now: Instant,
    begin: int,
    horizon: float,
    limits: CurveLimits,
    tool: Tool | None = None,
) -> Plan:
    """Curves for the rows that can be followed: from `begin` [ns] until `horizon` s from now."""
    rows = actions.rows if len(actions.rows) > 1 else np.repeat(actions.rows, 2, axis=0)
    stride = max(1, ceil(KNOT_SPACING_MIN * NANOSECONDS / chunk.time_step))
    reach = ROWS_AROUND * stride
    first_followed = (min(begin, now.ros) - chunk.start_time) // chunk.time_step
    last_followed = (now.ros + nanoseconds(horizon) - chunk.start_time) // chunk.time_step
    first = max(0, min(first_followed - reach, len(rows) - 2))
    last = last_followed + reach + 1
    window = rows[first : max(last, first + 2) : stride]
    if len(window) < 2:
        window = rows[[first, len(rows) - 1]]
        stride = len(rows) - 1 - first
    start, step = seconds(first * chunk.time_step), seconds(stride * chunk.time_step)
    points, smoothed = feasible_points(window, step, limits)
    reference = Curve(points, start, step)
    raw = Curve(control_points(window, 0), start, step) if smoothed else reference
    return Plan(
        source_id=chunk.source_id,
        number=chunk.number,
        start=chunk.start_time,
        step=chunk.time_step,
        rows=len(actions.rows),
        observation_stamp=chunk.observation_stamp,
        observation=Aged(chunk.observation_stamp, now),
        reference=reference,
        raw=raw,
        widths=None if actions.widths is None else actions.widths.tolist(),
        end=seconds((len(rows) - 1) * chunk.time_step),
        excess=actions.excess,
        tool_speeds=[] if tool is None else _tool_speeds(points, step, tool),
    )


def _tool_speeds(points: FloatArray, step: float, tool: Tool) -> list[float]:
    """For each segment of a curve the tool's largest speed [m/s] from there on for a while."""
    knots = (points[:-2] + 4 * points[1:-1] + points[2:]) / 6
    velocities = (points[2:] - points[:-2]) / (2 * step)
    speeds = tool_speed(tool_jacobian(posture(knots.T, tool)), velocities.T)
    ahead = ceil(SPEED_AHEAD / step) + 1
    return [float(speeds[k : k + ahead + 1].max()) for k in range(len(speeds) - 1)]
