"""Stops: the whole jerk-limited trajectory from a commanded state to rest, certified."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from ruckig import (
    ControlInterface,
    InputParameter,
    Result,
    Ruckig,
    RuckigError,
    Synchronization,
    Trajectory,
)

from salus_ros.supervision.interpolation import TOLERANCE, GeneratorLimits
from salus_ros.supervision.limits import VelocityEnvelope
from salus_ros.supervision.reference import State
from salus_ros.supervision.space_guard import SpaceGuard

# Ruckig needs some velocity to work with, also where the reference or the envelope leaves none.
SPEED_MIN: Final = 0.02

_FOUND: Final = (Result.Working, Result.Finished)


def ruckig_solver(limits: GeneratorLimits) -> tuple[Ruckig, InputParameter]:
    """A solver and its request, with the limits set, each joint on its own."""
    joints = len(limits.velocity)
    request = InputParameter(joints)
    request.synchronization = Synchronization.No
    request.max_velocity = limits.velocity
    request.max_acceleration = limits.acceleration
    request.max_jerk = limits.jerk
    return Ruckig(joints, limits.period), request


def solve(solver: Ruckig, request: InputParameter, trajectory: Trajectory) -> bool:
    """Whether Ruckig found a trajectory.

    It raises where it found none, also a ValueError: for results that its enum doesn't name.
    """
    try:
        return solver.calculate(request, trajectory) in _FOUND
    except (RuckigError, ValueError):
        return False


class Stop:
    """Stops from commanded states to rest, each solved and certified whole."""

    def __init__(
        self,
        limits: GeneratorLimits,
        envelopes: Sequence[VelocityEnvelope | None],
        envelope_fraction: float,
    ) -> None:
        self._limits = limits
        self._solver, self._request = ruckig_solver(limits)
        joints = len(limits.velocity)
        self._request.control_interface = ControlInterface.Velocity
        self._request.target_velocity = [0.0] * joints
        self._request.target_acceleration = [0.0] * joints
        self._envelopes = [(j, e) for j, e in enumerate(envelopes) if e is not None]
        self._fraction = envelope_fraction
        self.guard: SpaceGuard | None = None
        # Why the guard refused the last state; empty: it didn't.
        self.blocked = ""

    def from_state(self, state: State) -> tuple[Trajectory | None, list[int]]:
        """The trajectory from a state to rest, and the joints that would leave a limit on it."""
        limits = self._limits
        too_fast = [
            j
            for j, (v, a, top, steepest, jerk) in enumerate(
                zip(
                    state[1],
                    state[2],
                    limits.velocity,
                    limits.acceleration,
                    limits.jerk,
                )
            )
            if not inside(v, a, top, steepest, jerk)
        ]
        trajectory, failing = self.certify(state)
        return (None if too_fast else trajectory), too_fast + failing

    def certify(self, state: State) -> tuple[Trajectory | None, list[int]]:
        """The same where velocity and acceleration are known to be `inside`."""
        limits = self._limits
        q, v, a = state
        self.blocked = ""
        failing: list[int] = []
        request = self._request
        request.current_position, request.current_velocity = q, v
        request.current_acceleration = a
        trajectory = Trajectory(len(limits.velocity))
        if not solve(self._solver, request, trajectory):
            return None, list(range(len(q)))
        ends: list[float] = trajectory.at_time(trajectory.duration)[0]
        turns: list[float] = []
        for j in range(len(q)):
            way = turning(v[j], a[j], limits.jerk[j])
            turns.append(way)
            low, high = limits.lower[j] - TOLERANCE, limits.upper[j] + TOLERANCE
            if not (low <= q[j] <= high and low <= q[j] + way <= high and low <= ends[j] <= high):
                failing.append(j)
        if self._envelopes:
            failing += self._outside_envelopes(trajectory, q, ends)
        if self.guard is not None and not failing:
            self.blocked = self.guard.blocks(state, trajectory, ends, turns)
            if self.blocked:
                failing = list(range(len(q)))
        return (None if failing else trajectory), failing

    def _outside_envelopes(
        self, trajectory: Trajectory, starts: list[float], ends: list[float]
    ) -> list[int]:
        """Joints that leave their velocity envelope on a stop."""
        near = [
            (j, e)
            for j, e in self._envelopes
            if min(e.up(max(starts[j], ends[j])), e.down(min(starts[j], ends[j]))) * self._fraction
            < self._limits.velocity[j] + self._gain(j)
        ]
        if not near:
            return []
        # Sampled each tick, with the margin that a curve of bounded jerk can gain between.
        period = self._limits.period
        ticks = math.ceil(trajectory.duration / period) + 1
        samples = [trajectory.at_time(tick * period) for tick in range(ticks)]
        return [
            j
            for j, envelope in near
            if not all(
                inside_envelope(q[j], v[j], envelope, self._fraction, self._gain(j))
                for q, v, _ in samples
            )
        ]

    def _gain(self, joint: int) -> float:
        return 1e-6 + self._limits.jerk[joint] * self._limits.period**2

    def room(self, state: State) -> tuple[list[float], list[float]]:
        """Largest speeds [rad/s] down and up that are of use from a state on [joints].

        The envelope where the joint will be once its acceleration has turned: to aim for more
        would only end in a stop.
        """
        down, up = list(self._limits.velocity), list(self._limits.velocity)
        for j, envelope in self._envelopes:
            turn = 2 * self._limits.acceleration[j] / self._limits.jerk[j]
            ahead = state[0][j] + turn * state[1][j]
            gain, top = 2 * self._gain(j), self._limits.velocity[j]
            down[j] = max(min(top, self._fraction * envelope.down(ahead) - gain), SPEED_MIN * top)
            up[j] = max(min(top, self._fraction * envelope.up(ahead) - gain), SPEED_MIN * top)
        return down, up


def inside_envelope(
    position: float, velocity: float, envelope: VelocityEnvelope, fraction: float, gain: float
) -> bool:
    """Whether a joint's velocity [rad/s] plus `gain` is inside a fraction of its envelope.

    A joint at rest always is: the envelope says how fast it may go, not where it may stand. (To
    let a joint creep on at less than `gain` was tried; the adversary crept out with it.)
    """
    if abs(velocity) <= 1e-9:
        return True
    room = envelope.up(position) if velocity > 0 else envelope.down(position)
    return abs(velocity) + gain <= fraction * room


def inside(velocity: float, acceleration: float, top: float, steepest: float, jerk: float) -> bool:
    """Whether a joint's velocity and acceleration are inside, and stay so while it stops.

    A stop's largest velocity is the one at which its acceleration has gone back to zero.
    """
    fastest = top * (1 + TOLERANCE)
    return (
        abs(acceleration) <= steepest * (1 + TOLERANCE)
        and abs(velocity) <= fastest
        and abs(velocity + acceleration * abs(acceleration) / (2 * jerk)) <= fastest
    )


def turning(velocity: float, acceleration: float, jerk: float) -> float:
    """How far [rad] a joint still goes before its stop turns it round; 0 where it doesn't.

    It turns where it decelerates so hard that its velocity passes zero before a jerk-limited
    stop can take the deceleration back. (Ruckig's own position extrema are of no use here: with a
    velocity target they include position 0.)
    """
    if velocity * acceleration >= 0:
        return 0.0
    speed, braking = abs(velocity), abs(acceleration)
    room = braking * braking - 2 * jerk * speed
    if room <= 0:
        return 0.0
    time = (braking - math.sqrt(room)) / jerk
    distance = time * (speed - time * (braking / 2 - time * jerk / 6))
    return math.copysign(distance, velocity)
