"""The motion generator: one jerk-limited sample (q, v, a) a tick, from which the arm can stop.

**Tracking.** The generator works on the *error* between the commanded state and the reference
(a smooth curve, see `reference`): Ruckig brings the error to zero in the shortest time, with the
part of the limits that the reference itself leaves over. So a moving reference is caught up with
exactly, without lag, overshoot or chatter, and once the error is zero the samples lie on the
reference. What was tried and is worse: Ruckig aimed at the reference's state one tick ahead never
catches a moving reference up (arriving "now" costs nothing, 5 to 90 mrad of lag); aimed at the
state 0.1 s ahead with that minimum duration it cuts corners (3 mrad) and its jerk is bang-bang.

**Limits** hold sample by sample: a candidate is sent only where its edge is smooth and its
acceleration and velocity are inside the generator's limits (`interpolation`), so that every curve
through the samples keeps the operating limits. A joint whose candidate is not takes Ruckig's
trajectory to the reference within the absolute limits instead, which keeps them by construction.

**Can still stop.** With each state goes its certified stop (`stop`): Ruckig's whole trajectory to
rest, inside the position limits, the velocity envelope, the workspace and the tool's speed. A
candidate without one is not sent: first the plan's position is approached at rest; then the joints
that can't do that either go along their own stops; then all do. (Where only the tool would be too
fast, one sample along the stop is enough, and the next tick tries the plan again.) The remainder of
a certified stop is certified, too, so from the first tick to the last there is a next sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from ruckig import Synchronization, Trajectory

from salus_ros.supervision.interpolation import GeneratorLimits, edge_is_smooth
from salus_ros.supervision.limits import VelocityEnvelope
from salus_ros.supervision.reference import Row, State
from salus_ros.supervision.space_guard import TOO_FAST, SpaceGuard
from salus_ros.supervision.stop import SPEED_MIN, Stop, inside, ruckig_solver, solve

# Share of a limit that catching up may use even where the reference takes nearly all of it.
RESERVE_MIN: Final = 0.1
# Ruckig's trajectory within absolute limits aims so far ahead on the reference [s].
AIM_AHEAD: Final = 0.1
# Velocities [rad/s] and accelerations [rad/s^2] below this are rounding.
REST: Final = 1e-6


class Step(Enum):
    """How a sample came about."""

    TRACK = "track"
    APPROACH = "approach"
    BRAKE = "brake"
    STOP = "stop"


class Sample:
    """A commanded state, how it came about, and its certified stop, `along` s of which are past."""

    # No dataclass: mypyc makes this one in a tenth of the time, once a tick.
    __slots__ = ("along", "state", "step", "stop")

    def __init__(self, step: Step, state: State, stop: Trajectory, along: float = 0.0) -> None:
        self.step, self.state, self.stop, self.along = step, state, stop, along


class MotionGenerator:
    """The commanded state and its next sample. Plain lists of floats throughout (speed).

    What works a sample out changes nothing, what sends it is another call: so it can be worked out
    before its tick.
    """

    def __init__(
        self,
        limits: GeneratorLimits,
        envelopes: Sequence[VelocityEnvelope | None],
        envelope_fraction: float,
    ) -> None:
        self.limits = limits
        self._joints = len(limits.velocity)
        self._stop = Stop(limits, envelopes, envelope_fraction)
        self._make_solvers()
        self._trajectory = Trajectory(self._joints)
        zero = [0.0] * self._joints
        self.sample = Sample(Step.STOP, (zero, zero, zero), Trajectory(self._joints))
        # Counts the samples, so that a tick that failed can tell whether it has its own already.
        self.samples = 0

    def _make_solvers(self) -> None:
        zero = [0.0] * self._joints
        self._error_solver, self._error_request = ruckig_solver(self.limits)
        self._error_request.target_position = zero
        self._error_request.target_velocity = zero
        self._error_request.target_acceleration = zero
        self._aim_solver, self._aim_request = ruckig_solver(self.limits)

    def use(self, limits: GeneratorLimits, stop: Stop) -> bool:
        """Change to other limits, with the stop made for them; False (and nothing changed) where
        the commanded state couldn't be stopped inside them.
        """
        certificate, _ = stop.from_state(self.state)
        if certificate is None:
            return False
        self.limits, self._stop = limits, stop
        self._make_solvers()
        self.sample = Sample(self.sample.step, self.state, certificate)
        return True

    @property
    def state(self) -> State:
        """What is commanded: positions, velocities, accelerations."""
        return self.sample.state

    @property
    def guard(self) -> SpaceGuard | None:
        """What keeps workspace and tool speed; None: nothing does."""
        return self._stop.guard

    @guard.setter
    def guard(self, guard: SpaceGuard | None) -> None:
        self._stop.guard = guard

    def start(self, positions: Row) -> bool:
        """Begin at rest at positions [rad]; False (and nothing changed) outside the limits."""
        zero = [0.0] * self._joints
        state = (list(positions), zero, zero)
        stop, _ = self._stop.from_state(state)
        if stop is None:
            return False
        self.sample = Sample(Step.STOP, state, stop)
        return True

    @property
    def at_rest(self) -> bool:
        """Whether the commanded velocity and acceleration are zero, but for rounding."""
        _, velocities, accelerations = self.state
        for v, a in zip(velocities, accelerations):  # noqa: SIM110  (a plain loop when compiled)
            if not (abs(v) < REST and abs(a) < REST):
                return False
        return True

    def send(self, sample: Sample) -> Step:
        """Make a sample, worked out for the present state, the commanded one."""
        self.sample = sample
        self.samples += 1
        return sample.step

    def stop(self, step: Step = Step.STOP) -> Sample:
        """Next sample: one period further along the certified stop."""
        along = self.sample.along + self.limits.period
        return Sample(step, self._along_stop(along), self.sample.stop, along)

    def _along_stop(self, along: float) -> State:
        stop = self.sample.stop
        state: State = stop.at_time(along)
        if along < stop.duration:
            return state
        zero = [0.0] * self._joints
        return state[0], zero, zero

    def track(
        self,
        now: State,
        following: State,
        peaks: tuple[Row, Row],
        aim: Callable[[], State],
        share: float = 1.0,
    ) -> Sample:
        """Next sample towards a moving reference.

        now, following: the reference at this sample and at the next; peaks: its largest
        acceleration and jerk around them; aim: tells its state AIM_AHEAD later, where that is
        needed; share: of the velocity limits that is aimed for (they themselves are kept anyway).
        """
        room = self._room(share)
        candidate = self._catch_up(now, following, peaks, room)
        rough = self._rough_edges(candidate, share)
        if rough:
            candidate = _mixed(candidate, self._towards(aim(), AIM_AHEAD, room), rough)
            rough = self._rough_edges(candidate)
        sample, _ = self._certified(Step.TRACK, candidate, rough)
        return sample or self._brake() or self.approach(aim()[0], share)

    def approach(self, positions: Row, share: float = 1.0) -> Sample:
        """Next sample towards positions at rest, moved into the limits; else along the stop.

        A joint that could no longer be stopped after such a sample goes along its own stop: the
        joints are limited one by one, so one at its limits need not stop the others.
        """
        limits = self.limits
        inside_limits = [
            min(max(q, low), high) for q, low, high in zip(positions, limits.lower, limits.upper)
        ]
        zero = [0.0] * self._joints
        candidate = self._towards((inside_limits, zero, zero), 0.0, self._room(share))
        sample, failing = self._certified(Step.APPROACH, candidate, self._rough_edges(candidate))
        if sample is None and len(failing) < self._joints:
            along = self.sample.along + self.limits.period
            candidate = _mixed(candidate, self._along_stop(along), failing)
            sample, _ = self._certified(Step.APPROACH, candidate, self._rough_edges(candidate))
        return sample or self._brake() or self.stop()

    def _brake(self) -> Sample | None:
        """Where the tool would be too fast: one sample along the stop, then the plan again."""
        return self.stop(Step.BRAKE) if self._stop.blocked == TOO_FAST else None

    def _room(self, share: float) -> tuple[Row, Row]:
        """Largest speeds [rad/s] down and up to aim for."""
        down, up = self._stop.room(self.state)
        if share == 1.0:
            return down, up
        most = [share * v for v in self.limits.velocity]
        slower = [[min(speed, top) for speed, top in zip(way, most)] for way in (down, up)]
        return slower[0], slower[1]

    def _catch_up(
        self,
        now: State,
        following: State,
        peaks: tuple[Row, Row],
        room: tuple[Row, Row],
    ) -> State:
        """Reference plus the error one period on, the error going to zero in the shortest time."""
        q, v, a = self.state
        q0, v0, a0 = now
        request, limits = self._error_request, self.limits
        request.current_position = [x - y for x, y in zip(q, q0)]
        request.current_velocity = [x - y for x, y in zip(v, v0)]
        request.current_acceleration = [x - y for x, y in zip(a, a0)]
        down, up = room
        request.max_velocity = [max(x - y, SPEED_MIN * x) for x, y in zip(up, v0)]
        request.min_velocity = [-max(x + y, SPEED_MIN * x) for x, y in zip(down, v0)]
        request.max_acceleration = _reserve(limits.acceleration, peaks[0])
        request.max_jerk = _reserve(limits.jerk, peaks[1])
        if not solve(self._error_solver, request, self._trajectory):
            return following
        error: State = self._trajectory.at_time(limits.period)
        eq, ev, ea = error
        return (
            [x + y for x, y in zip(following[0], eq)],
            [x + y for x, y in zip(following[1], ev)],
            [x + y for x, y in zip(following[2], ea)],
        )

    def _towards(self, target: State, duration: float, room: tuple[Row, Row]) -> State:
        """State one period on along Ruckig's trajectory to a target, within absolute limits."""
        request, limits = self._aim_request, self.limits
        request.current_position, request.current_velocity, request.current_acceleration = (
            self.state
        )
        request.target_position = target[0]
        down, up = room
        request.min_velocity, request.max_velocity = [-speed for speed in down], up
        request.target_velocity, request.target_acceleration = self._reachable(target, room)
        request.synchronization = Synchronization.Time if duration else Synchronization.No
        request.minimum_duration = duration or None
        if not solve(self._aim_solver, request, self._trajectory):
            return self.state
        q, v, a = self._trajectory.at_time(limits.period)
        return q, v, a

    def _reachable(self, target: State, room: tuple[Row, Row]) -> tuple[Row, Row]:
        """Velocity and acceleration of a target, moved to where a trajectory may arrive."""
        velocities, accelerations = [], []
        limits = self.limits
        for v, a, down, up, steepest, jerk in zip(
            target[1], target[2], *room, limits.acceleration, limits.jerk, strict=True
        ):
            v_in = min(max(v, -0.98 * down), 0.98 * up)
            spare = min(0.99 * up - v_in, 0.99 * down + v_in)
            most = min(0.98 * steepest, math.sqrt(2 * jerk * spare))
            velocities.append(v_in)
            accelerations.append(min(max(a, -most), most))
        return velocities, accelerations

    def _rough_edges(self, candidate: State, share: float = 1.0) -> list[int]:
        """Joints whose candidate would leave the limits of velocity, acceleration or jerk.

        share: of the velocity limits.
        """
        limits, period = self.limits, self.limits.period
        q0, v0, a0 = self.state
        q, v, a = candidate
        rough: list[int] = []
        for j in range(len(q)):
            jerk = limits.jerk[j]
            if not (
                inside(v[j], a[j], share * limits.velocity[j], limits.acceleration[j], jerk)
                and edge_is_smooth((q0[j], v0[j], a0[j]), (q[j], v[j], a[j]), jerk, period)
            ):
                rough.append(j)
        return rough

    def _certified(
        self, step: Step, candidate: State, rough: list[int]
    ) -> tuple[Sample | None, list[int]]:
        """A candidate with its stop; None: the joints that forbid it.

        They are those whose edge is rough, as given, or whose stop is not certified.
        """
        self._stop.blocked = ""
        if rough:
            return None, rough
        stop, failing = self._stop.certify(candidate)
        return (None if stop is None else Sample(step, candidate, stop)), failing


def _reserve(limits: Row, used: Row) -> Row:
    return [max(limit - part, RESERVE_MIN * limit) for limit, part in zip(limits, used)]


def _mixed(candidate: State, other: State, joints: list[int]) -> State:
    """A candidate with some joints' values from another."""
    q, v, a = ([*values] for values in candidate)
    for mine, theirs in zip((q, v, a), other):
        for j in joints:
            mine[j] = theirs[j]
    return q, v, a
