"""Check 6 of a commanded state and of its whole stop: workspace and tool speed.

Sampling a stop at every tick costs more than a tick has. So a stop is looked at with bounds that
hold between the looks, too:

**Workspace.** A point moves by at most sum_j L_j * (travel of joint j), L_j the largest lever arm
(`lever_bounds`). Where the margin at the start is larger than that, the whole stop is inside: one
look, nearly always. Otherwise the stop is halved, looked at in the middle, and so on, until the
margin of each look covers its part; a stop that isn't covered after `LOOKS_MAX` looks is refused.

**Tool speed.** With J the tool's Jacobian at some place on the stop, the tool's velocity is
J v(t) + e, |e| <= (sum_j sqrt(L_j) |v_j|) (sum_k sqrt(L_k) way_k), way_k: what joint k went since
that place: a column of J changes by at most min(L_j, L_k) <= sqrt(L_j L_k) for 1 rad of joint k.
Between two looks a time h apart, J v(t) leaves the straight line by at most
sum_j |J_j| jerk_j h^2 / 8, and a norm along a line is largest at its ends. The looks are chosen so
close that this is `GAP_SHARE` of the limit. J is worked out anew only where the bound with the old
one is too large. Once the peak velocities of what is left of the stop can't exceed the limit,
whatever their signs, no more looks are needed; for slow motions that is at once.
"""

from __future__ import annotations

import math
from typing import Final

from ruckig import Trajectory

from salus_ros.supervision.arm_kinematics import (
    Posture,
    lengths,
    lever_bounds,
    posture,
    tool_jacobian,
    tool_speed,
)
from salus_ros.supervision.interpolation import GeneratorLimits
from salus_ros.supervision.reference import Row, State
from salus_ros.supervision.workspace import Workspace

# Why a state is refused.
OUTSIDE: Final = "workspace"
TOO_FAST: Final = "tool_speed"

LOOKS_MAX: Final = 12
# More would need fewer looks, and leave less of the tool's speed.
GAP_SHARE: Final = 0.03
SPEED_LOOKS_MAX: Final = 40
# A joint slower than this [rad/s], with as little acceleration, doesn't move: it adds no jerk.
STILL: Final = 1e-9


class _Base:
    """A place on a stop, with the tool's Jacobian there."""

    __slots__ = ("_looked", "jacobian", "norms", "positions")

    def __init__(self, positions: Row, place: Posture) -> None:
        self.positions = positions
        self.jacobian = tool_jacobian(place)
        self.norms = lengths(self.jacobian)
        self._looked: tuple[State | None, float] = (None, 0.0)

    def speed(self, state: State) -> float:
        """The tool's speed [m/s] with this Jacobian; the last one is remembered."""
        if self._looked[0] is not state:
            self._looked = (state, tool_speed(self.jacobian, state[1]))
        return self._looked[1]


class SpaceGuard:
    """Whether states can be stopped inside the workspace, the tool slower than `tool_speed`."""

    def __init__(self, workspace: Workspace, limit: float, limits: GeneratorLimits) -> None:
        """limit: of the tool's speed [m/s]."""
        self.workspace = workspace
        self.limit = limit
        self._jerk = limits.jerk
        self._levers = lever_bounds(workspace.tool)
        # The tool point is on the seventh joint's axis.
        self._roots = [math.sqrt(lever) for lever in self._levers[:-1]] + [0.0]

    def blocks(self, state: State, stop: Trajectory, ends: Row, turns: Row) -> str:
        """Why a state may not be commanded: "", OUTSIDE or TOO_FAST.

        stop: its stop, ending at `ends`; turns: how far each joint goes before it turns round.
        """
        q = state[0]
        extra, travel = _travels(q, ends, turns)
        place = posture(q, self.workspace.tool)
        margin = self.workspace.least_margin(place)
        if margin < self._reach(travel) and (
            margin < 0 or not self._stays_inside(stop, q, ends, extra)
        ):
            return OUTSIDE
        return "" if self._stays_slow(place, state, stop, ends, extra) else TOO_FAST

    def _reach(self, travel: Row) -> float:
        return _dot(self._levers, travel)

    def _stays_inside(self, stop: Trajectory, start: Row, ends: Row, extra: Row) -> bool:
        parts = [(0.0, stop.duration, start, ends)]
        for _ in range(LOOKS_MAX):
            if not parts:
                return True
            begin, end, q0, q1 = parts.pop()
            middle = (begin + end) / 2
            q: Row = stop.at_time(middle)[0]
            margin = self.workspace.least_margin(posture(q, self.workspace.tool))
            if margin < 0:
                return False
            before = [abs(x - y) + e for x, y, e in zip(q, q0, extra)]
            after = [abs(x - y) + e for x, y, e in zip(q1, q, extra)]
            if margin < self._reach(before):
                parts.append((begin, middle, q0, q))
            if margin < self._reach(after):
                parts.append((middle, end, q, q1))
        return not parts

    def _stays_slow(
        self, place: Posture, state: State, stop: Trajectory, ends: Row, extra: Row
    ) -> bool:
        base = _Base(state[0], place)
        if self._surely_slow(base, state, ends, extra):
            return True
        if base.speed(state) > self.limit:
            return False
        jerks = [
            jerk if abs(v) > STILL or abs(a) > STILL else 0.0
            for v, a, jerk in zip(state[1], state[2], self._jerk)
        ]
        bend = _dot(base.norms, jerks) / 8
        duration: float = stop.duration
        looks = math.ceil(duration * math.sqrt(bend / (GAP_SHARE * self.limit)))
        step = duration / min(max(looks, 2), SPEED_LOOKS_MAX)
        gaps = [jerk * step * step / 8 for jerk in jerks]
        gap_roots = self._root_sum(gaps)
        before, roots_before = state, self._root_sum(state[1])
        for look in range(1, SPEED_LOOKS_MAX + 1):
            after: State = stop.at_time(look * step)
            roots_after = self._root_sum(after[1])
            roots = max(roots_before, roots_after) + gap_roots
            if not self._slow_between(base, before, after, gaps, roots, extra):
                base = _Base(before[0], posture(before[0], self.workspace.tool))
                if not self._slow_between(base, before, after, gaps, roots, extra):
                    return False
            if look * step >= duration or self._surely_slow(base, after, ends, extra):
                return True
            before, roots_before = after, roots_after
        return False

    def _surely_slow(self, base: _Base, state: State, ends: Row, extra: Row) -> bool:
        """Whether the rest of a stop can't exceed the limit, whatever the joints' directions."""
        if _dot(base.norms, [abs(v) for v in state[1]]) > self.limit:
            return False
        peaks = [
            max(abs(v), abs(v + a * abs(a) / (2 * jerk)))
            for v, a, jerk in zip(state[1], state[2], self._jerk)
        ]
        most = _dot(base.norms, peaks)
        way = [
            abs(q - q0) + abs(end - q) + 2 * more
            for q, q0, end, more in zip(state[0], base.positions, ends, extra)
        ]
        return most + self._root_sum(peaks) * self._root_sum(way) <= self.limit

    def _slow_between(
        self,
        base: _Base,
        before: State,
        after: State,
        gaps: Row,
        roots: float,
        extra: Row,
    ) -> bool:
        """Whether the tool keeps its limit from one look to the next.

        gaps: how far each joint's velocity may leave the straight line between them [rad/s];
        roots: bound of the root sum of the velocities between them.
        """
        gap = _dot(base.norms, gaps)
        fastest = gap + max(base.speed(before), base.speed(after))
        if fastest > self.limit:
            return False
        # Both looks lie after the base: what the later has gone, `extra` included, bounds both.
        way = 0.0
        for root, x, z, more in zip(self._roots, after[0], base.positions, extra):
            way += root * (abs(x - z) + more)
        return fastest + roots * way <= self.limit

    def _root_sum(self, values: Row) -> float:
        total = 0.0
        for root, value in zip(self._roots, values):
            total += root * abs(value)
        return total


def _dot(factors: Row, values: Row) -> float:
    """Sum of the products; where one is shorter, of so many."""
    total = 0.0
    for factor, value in zip(factors, values):
        total += factor * value
    return total


def _travels(starts: Row, ends: Row, turns: Row) -> tuple[Row, Row]:
    """What turning round adds to the way of each joint [rad], and its whole way on a stop."""
    extra: Row = []
    travel: Row = []
    for q, end, turn in zip(starts, ends, turns):
        more = 2 * min(abs(turn), abs(q + turn - end)) if turn != 0.0 else 0.0
        extra.append(more)
        travel.append(abs(end - q) + more)
    return extra, travel
