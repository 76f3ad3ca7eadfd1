"""The smooth curve through a plan's rows that the motion generator follows.

A plan has positions only. Its curve is a uniform cubic B-spline, twice continuously
differentiable, in one of two forms, chosen joint by joint:

- **interpolating**: through every row. Used where the curve stays inside the generator's limits.
- **smoothed**: control points are the rows averaged `m` times with the weights (1, 4, 1)/6, the
  smallest `m` of `SMOOTHING_PASSES` whose acceleration and jerk are feasible. Noise of 0.01 rad
  at 30 Hz asks for up to 36 rad/s^2; chasing it time-optimally with saturated acceleration was
  tried and strays by 0.17 rad (the generator is always late), whereas the average, which looks
  ahead as well as back and therefore has no lag, stays within the noise. The average of rows lies
  inside their convex hull: smoothing never leaves the position limits.

Both forms are linear in the rows: a matrix, which is kept, so a curve costs some microseconds.

A B-spline with control points c has, at knot k and step dt,
    position      (c[k-1] + 4 c[k] + c[k+1]) / 6
    velocity      (c[k+1] - c[k-1]) / (2 dt)
    acceleration  (c[k-1] - 2 c[k] + c[k+1]) / dt^2     (linear between knots)
    jerk          third difference / dt^3               (constant between knots)
so its extremes of acceleration and jerk are those at the knots.
Source: Unser, "Splines: a perfect fit for signal and image processing", IEEE SPM 1999.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray

# 0: interpolating; 1: the rows themselves as control points; m: averaged m - 1 times more.
SMOOTHING_PASSES: Final = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)

# Pole of the inverse of (1, 4, 1)/6; its powers fall below 1e-9 after 16 rows.
_POLE: Final = math.sqrt(3.0) - 2.0
_INVERSE_REACH: Final = 16

# Rows closer than this are thinned out: a curve with knots every 8 ms bends faster than any arm.
KNOT_SPACING_MIN: Final = 0.008

# A smoothed curve uses at most this share of acceleration and jerk: the rest is for catching up at
# the next chunk's seam, where the noise is another one. Only as long as it strays by no more than
# this from the rows [rad]: a plan that is fast, not noisy, is followed as closely as it may be.
SMOOTHED_SHARE: Final = 0.5
SMOOTHED_DEVIATION: Final = 0.015

# The curve's use of the limits is looked at so far ahead [s]: about as long as catching up takes.
PEAKS_AHEAD: Final = 0.15

# Matrices kept: one for each number of rows and passes that plans had lately.
OPERATORS_MAX: Final = 256
# Plans are followed at first along a curve of fewer rows than this.
WARM_ROWS: Final = 32
WARM_JOINTS: Final = 7

Row = list[float]
State = tuple[Row, Row, Row]


def control_points(rows: FloatArray, passes: int) -> FloatArray:
    """Control points -1 to n of the curve of rows [n, joints]: [n + 2, joints]."""
    return np.asarray(_operator(len(rows), passes) @ rows, np.float64)


def warm_up() -> None:
    """Make the matrices of a plan's first rows, and have BLAS make its workspace.

    Where memory is locked, the first product of more than a few rows takes 11 ms for that: not to
    be in the first chunk's callback, before a tick.
    """
    for count in range(2, WARM_ROWS):
        for passes in SMOOTHING_PASSES[:2]:
            control_points(np.zeros((count, WARM_JOINTS)), passes)


@functools.lru_cache(maxsize=OPERATORS_MAX)
def _operator(count: int, passes: int) -> FloatArray:
    """Weights of each of `count` rows in each control point [count + 2, count]."""
    if passes == 0 and count > 2:
        return _interpolating(count)
    return _reflected(np.linalg.matrix_power(_averaging(count), max(passes - 1, 0)))


def _averaging(count: int) -> FloatArray:
    """One average of rows with the weights (1, 4, 1)/6 [count, count].

    At both ends the rows go on with their slope, point-reflected, which leaves the end where it is:
    a continuation with the acceleration there would amplify the noise that is to be averaged.
    """
    one = np.eye(count)
    found: FloatArray = (4.0 * one + np.eye(count, k=1) + np.eye(count, k=-1)) / 6.0
    found[[0, -1]] = one[[0, -1]]
    return found


def _reflected(rows: FloatArray) -> FloatArray:
    """Rows [n, ...] with one more at both ends, which are reflected there."""
    inner = min(1, len(rows) - 1)
    front, back = 2 * rows[:1] - rows[inner : inner + 1], 2 * rows[-1:] - rows[[-1 - inner]]
    return np.concatenate((front, rows, back))


def _interpolating(count: int) -> FloatArray:
    """Weights of the curve through all rows; at least three.

    It goes on with the acceleration at its ends: braking to zero there would ask for jerk that the
    plan doesn't.
    """
    rows, reach = np.eye(count), _INVERSE_REACH + 1
    k = np.arange(1.0, reach + 1, dtype=np.float64)[:, None]
    front = _continued(rows[0], rows[1], rows[2], k)[::-1]
    wide = np.concatenate((front, rows, _continued(rows[-1], rows[-2], rows[-3], k)))
    weights = math.sqrt(3.0) * _POLE ** np.abs(np.arange(-_INVERSE_REACH, _INVERSE_REACH + 1))
    weights /= weights.sum()
    columns = [np.convolve(column, weights, mode="valid") for column in wide.T]
    return np.ascontiguousarray(np.array(columns).T)


def _continued(x0: FloatArray, x1: FloatArray, x2: FloatArray, k: FloatArray) -> FloatArray:
    """The parabola through x0, x1, x2 at 0, 1, 2, evaluated at -k: [len(k), joints]."""
    bend = x2 - 2 * x1 + x0
    return x0 - k * (x1 - x0) + k * (k + 1) / 2 * bend


@dataclass(frozen=True, slots=True)
class CurveLimits:
    """What a curve may ask for, one value a joint: rad/s, rad/s^2, rad/s^3."""

    velocity: FloatArray
    acceleration: FloatArray
    jerk: FloatArray

    def of(self, joints: NDArray[np.intp]) -> CurveLimits:
        """Those of some joints."""
        return CurveLimits(self.velocity[joints], self.acceleration[joints], self.jerk[joints])


def demands(points: FloatArray, step: float, limits: CurveLimits) -> tuple[FloatArray, FloatArray]:
    """What curves of control points [n + 2, joints] ask for, as shares of the limits [joints].

    First of velocity, then the larger of acceleration and jerk.
    """
    difference = points[1:] - points[:-1]
    speed = np.abs(difference).max(axis=0) / (step * limits.velocity)
    bend = np.zeros(points.shape[1])
    for power, limit in ((2, limits.acceleration), (3, limits.jerk)):
        if len(difference) >= 2:
            difference = difference[1:] - difference[:-1]
            bend = np.maximum(bend, np.abs(difference).max(axis=0) / (step**power * limit))
    return speed, bend


class Smoothing:
    """Looks for the least smoothed feasible curve of rows [n, joints], one pass a call.

    Noise is smoothed further, to `SMOOTHED_SHARE` of the limits, as long as the curve stays within
    `SMOOTHED_DEVIATION` of the rows. A joint that no smoothing makes feasible gets the smoothest
    curve; the generator then follows it as closely as the limits allow.

    points: control points found so far; passes: the most that any joint was given; 0: none.
    """

    def __init__(self, rows: FloatArray, step: float, limits: CurveLimits) -> None:
        self._rows, self._step, self._limits = rows, step, limits
        self.points = control_points(rows, 0)
        self.passes = 0
        speed, bend = demands(self.points, step, limits)
        self._joints: NDArray[np.intp] = np.flatnonzero((speed > 1) | (bend > 1))
        self._found: NDArray[np.bool_] = np.zeros(len(self._joints), dtype=np.bool_)
        self._left = list(reversed(SMOOTHING_PASSES[1:]))

    @property
    def done(self) -> bool:
        """Whether no pass is left to try."""
        return not len(self._joints) or not self._left

    def advance(self) -> None:
        """Try the next number of passes."""
        passes, joints = self._left.pop(), self._joints
        wanted = self._rows[:, joints]
        trial = control_points(wanted, passes)
        near = _deviation(trial, wanted) <= SMOOTHED_DEVIATION
        take = ~self._found | near
        self.points[:, joints[take]] = trial[:, take]
        self.passes = passes if take.any() else self.passes
        speed, bend = demands(trial, self._step, self._limits.of(joints))
        self._found |= (speed <= 1) & (bend <= 1)
        open_still = ~self._found | (near & (bend > SMOOTHED_SHARE))
        self._joints, self._found = joints[open_still], self._found[open_still]


def feasible_points(rows: FloatArray, step: float, limits: CurveLimits) -> tuple[FloatArray, int]:
    """Control points of the least smoothed feasible curve, and the most passes of any joint."""
    smoothing = Smoothing(rows, step, limits)
    while not smoothing.done:
        smoothing.advance()
    return smoothing.points, smoothing.passes


def _deviation(points: FloatArray, rows: FloatArray) -> FloatArray:
    """Largest distance of each curve from its rows [joints]."""
    knots = (points[:-2] + 4 * points[1:-1] + points[2:]) / 6
    worst: FloatArray = np.abs(knots - rows).max(axis=0)
    return worst


# A segment's cubic of one joint, constant first, over the place in it, 0 to 1.
Cubic = tuple[float, float, float, float]


class Curve:
    """A uniform cubic B-spline over time [s], evaluated without numpy (a tick's budget).

    What a segment needs is worked out when it is first asked for: of most plans only the first few
    segments are followed before the next plan comes.
    """

    __slots__ = ("_ahead", "_cubics", "_looked", "_peaks", "_points", "_step", "end", "start")

    def __init__(self, points: FloatArray, start: float, step: float) -> None:
        """points [n + 2, joints]: control points -1 to n; start [s] of knot 0; step [s]."""
        self._points: list[Row] = points.tolist()
        segments = len(self._points) - 3
        self._cubics: list[list[Cubic] | None] = [None] * segments
        self._peaks: list[tuple[Row, Row] | None] = [None] * segments
        self._ahead = math.ceil(PEAKS_AHEAD / step) + 1
        self._step = step
        # The last time asked for, and the state then: it is asked for again, by the next tick too.
        self._looked: tuple[float, State] = (math.nan, ([], [], []))
        self.start = start
        self.end = start + step * segments

    def segment(self, time: float) -> tuple[int, float]:
        """Segment and place in it, 0 to 1; times outside the curve are moved to its ends."""
        place = (time - self.start) / self._step
        last = len(self._cubics) - 1
        # Plain comparisons: this is asked for several times a tick, min and max cost twice as much.
        index = int(place)
        index = 0 if index < 0 else last if index > last else index
        u = place - index
        return index, 0.0 if u < 0.0 else 1.0 if u > 1.0 else u

    def at(self, time: float) -> State:
        """Position, velocity and acceleration [joints] at a time [s]; not to be changed."""
        if time == self._looked[0]:
            return self._looked[1]
        index, u = self.segment(time)
        step = self._step
        positions, velocities, accelerations = [], [], []
        for c0, c1, c2, c3 in self._cubics[index] or self._cubics_of(index):
            positions.append(c0 + u * (c1 + u * (c2 + u * c3)))
            velocities.append((c1 + u * (2 * c2 + u * 3 * c3)) / step)
            accelerations.append((2 * c2 + 6 * u * c3) / (step * step))
        self._looked = time, (positions, velocities, accelerations)
        return self._looked[1]

    def _cubics_of(self, index: int) -> list[Cubic]:
        points = self._points
        before, begin, end, after = points[index : index + 4]
        found: list[Cubic] = []
        for j in range(len(begin)):
            a, b, c, d = before[j], begin[j], end[j], after[j]
            bend = (a - 2.0 * b + c) / 2.0
            third = (d - a + 3.0 * (b - c)) / 6.0
            found.append(((a + 4.0 * b + c) / 6.0, (c - a) / 2.0, bend, third))
        self._cubics[index] = found
        return found

    def position(self, time: float) -> Row:
        """Position [joints] at a time [s]; not to be changed."""
        return self.at(time)[0]

    def peaks(self, time: float) -> tuple[Row, Row]:
        """Bounds of |acceleration| and |jerk| [joints] for PEAKS_AHEAD seconds from a time on."""
        index, _ = self.segment(time)
        return self._peaks[index] or self._peaks_of(index)

    def _peaks_of(self, index: int) -> tuple[Row, Row]:
        last = min(index + self._ahead, len(self._cubics))
        square, cube = self._step**2, self._step**3
        accelerations: Row = []
        jerks: Row = []
        for j in range(len(self._points[0])):
            jerk = 0.0
            b, c, d = self._points[index][j], self._points[index + 1][j], self._points[index + 2][j]
            bend = abs(b - 2.0 * c + d)
            for k in range(index + 3, last + 3):
                a, b, c, d = b, c, d, self._points[k][j]
                bend = max(bend, abs(b - 2.0 * c + d))
                jerk = max(jerk, abs(d - a + 3.0 * (b - c)))
            accelerations.append(bend / square)
            jerks.append(jerk / cube)
        self._peaks[index] = accelerations, jerks
        return accelerations, jerks
