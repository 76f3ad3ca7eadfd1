"""An accepted chunk as a plan in time, and the clock that it is followed on."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from salus_ros.interfaces import NANOSECONDS, ActionChunk, Instant, nanoseconds, seconds
from salus_ros.supervision.chunk_checks import CheckedActions
from salus_ros.supervision.freshness import Aged
from salus_ros.supervision.reference import (
    KNOT_SPACING_MIN,
    Curve,
    CurveLimits,
    Row,
    control_points,
    feasible_points,
)

# Rows kept around those that can be followed: a spline's memory is shorter.
ROWS_AROUND = 8


@dataclass(slots=True)
class Plan:
    """What is followed: curves over the time [s] since `start` [ns of the ROS clock].

    reference: the curve to follow; raw: the one through every row, that deviations are measured
    from; widths: the gripper's, row by row (None: it keeps its command); end [s].
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

    def since_start(self, time: int) -> float:
        """A time of the plan's clock [ns] as seconds since its start."""
        return seconds(time - self.start)

    def row(self, time: int) -> int:
        """The row in force at a time [ns], 0 to rows - 1."""
        return min(max((time - self.start) // self.step, 0), self.rows - 1)

    def width(self, time: int) -> float | None:
        """Gripper's opening width [m] at a time [ns]: the row in force, as a step."""
        return None if self.widths is None else self.widths[self.row(time)]

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
    )


class PlanClock:
    """The time of the plan that each command stands for.

    A plan is timed on the ROS clock, commands come one period apart on the trajectory clock. While
    ticks are on time the two run alike. Each tick that comes too late puts the commands further
    behind the plan; this clock then runs up to `SLEW` faster, its rate changed by at most `RAMP`
    a second, until they are level again: the plan's velocity is scaled by at most `SLEW` and never
    steps, and no command is ever further from the one before than the limits allow. At rest the
    clock is set (`anchor`), for then nothing moves.
    """

    SLEW = 0.05
    RAMP = 0.25
    # Behind (or ahead) by so many ticks it begins to slew, and ends when level within half a tick.
    BEGIN_TICKS = 1.5
    END_TICKS = 0.5
    BEGIN_MIN = 5_000_000

    def __init__(self, period: int, now: Instant) -> None:
        self._period = period
        self.time = now.ros
        self.rate = 1.0
        self._slewing = False

    def anchor(self, now: Instant) -> None:
        """Set the clock to now; only while nothing moves."""
        self.time = now.ros
        self.rate = 1.0
        self._slewing = False

    def shift(self, jump: int) -> None:
        """Follow a jump of the ROS clock [ns]."""
        self.time += jump

    def lag(self, now: Instant) -> int:
        """How far the next command will be behind now [ns]."""
        return now.ros - self.time - self._period

    def advance(self, now: Instant) -> tuple[int, int]:
        """The plan's time of the last command and of the next one [ns]."""
        self._steer(self.lag(now))
        before = self.time
        self.time += round(self._period * self.rate)
        return before, self.time

    def _steer(self, lag: int) -> None:
        begin = max(self.BEGIN_TICKS * self._period, self.BEGIN_MIN)
        self._slewing = abs(lag) > (self.END_TICKS * self._period if self._slewing else begin)
        wanted = 0.0
        if self._slewing:
            # In the last stretch no faster than the ramp can brake in time.
            wanted = min(self.SLEW, (2 * self.RAMP * seconds(abs(lag))) ** 0.5)
            wanted = wanted if lag > 0 else -wanted
        change = self.RAMP * seconds(self._period)
        self.rate = 1.0 + min(max(wanted, self.rate - 1.0 - change), self.rate - 1.0 + change)


def scaled(state: tuple[Row, Row, Row], rate: float) -> tuple[Row, Row, Row]:
    """A state of a curve as it is seen on a clock at which the curve's time runs at `rate`."""
    if rate == 1.0:
        return state
    q, v, a = state
    return q, [rate * x for x in v], [rate * rate * x for x in a]
