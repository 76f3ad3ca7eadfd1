"""What a robot's controller makes of the samples, and how far that may leave the limits.

A sample is (q, v, a) of a curve with |jerk| <= J, one every h seconds. A controller joins two
samples by a cubic (positions and velocities: `JointState`) or by a quintic (and accelerations:
`JointTrajectory`). Neither is the curve itself. How far they differ:

**Cubic.** Its acceleration is linear, from c0 to c1, with
    c0 = (6 (q1 - q0) / h - 4 v0 - 2 v1) / h,   c1 = (-6 (q1 - q0) / h + 2 v0 + 4 v1) / h.
With q''' = j(u), u in [0, 1], the end error is c1 - a1 = h * integral of j(u) (2u - 3u^2) du, whose
kernel changes its sign at u = 2/3; its absolute integral is 8/27. So |c - a| <= (8/27) J h at both
ends, and the cubic's jerk (c1 - c0)/h is a mean of j with the weight 6u(1 - u): at most J.

**Quintic.** It is the cubic plus h^2 (d0 phi(u) + d1 phi(1 - u)), d = a - c at the ends and
phi(u) = u^2 (1 - u)^3 / 2, for that leaves positions and velocities at the ends as they are. With
|d| <= (8/27) J h, sup(|phi''(u) - (1 - u)| + |phi''(1 - u) - u|) = 1.3 and
sup(|phi'''(u)| + |phi'''(1 - u)|) = 12, its acceleration leaves the line from a0 to a1 by at most
1.3 (8/27) J h, and its jerk is at most J + 12 (8/27) J = 4.6 J.

**Across knots** the cubic's acceleration jumps by at most (16/27) J h. In a third difference with
spacing s the jump has a weight of at most 3/4: it adds (4/9) J h / s.

`generator_limits` turns these into the limits that the motion generator has to keep so that the
curves keep the operating limits. `edge` is the test of one tick, from its samples alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.limits import ArmLimits

Samples = tuple[FloatArray, FloatArray, FloatArray]

CUBIC_END: Final = 8 / 27
QUINTIC_ACCELERATION: Final = 1.3 * CUBIC_END
# The tests of `edge_is_smooth` admit a cubic's jerk of J + 2 * CUBIC_END * J.
CUBIC_JERK: Final = 1 + 2 * CUBIC_END
KNOT_JERK: Final = 4 / 9

# A robot's controller runs at 1 kHz: the spacing at which its curve is judged [s].
CONTROLLER_PERIOD: Final = 0.001

# The acceleration ramps up over at least so many ticks: fewer cost acceleration (the quintic's
# overshoot is 1.3 * (8/27) / RAMP_TICKS of it), more cost agility.
RAMP_TICKS: Final = 4.0

# The generator's limits lie this share inside those that the output is verified against, and its
# own tests allow a tenth of it (`TOLERANCE`): Ruckig arrives at limits exactly, but for rounding.
HAIR: Final = 1e-6
TOLERANCE: Final = 1e-7


@dataclass(frozen=True, slots=True)
class GeneratorLimits:
    """Limits of the motion generator, one value a joint [rad, rad/s, rad/s^2, rad/s^3]."""

    lower: list[float]
    upper: list[float]
    velocity: list[float]
    acceleration: list[float]
    jerk: list[float]
    period: float


def generator_jerk(acceleration: float, jerk: float, period: float) -> float:
    """Largest jerk of the generator for which each adapter's curve keeps `jerk` [rad/s^3]."""
    knots = CUBIC_JERK + KNOT_JERK * period / CONTROLLER_PERIOD
    interpolants = max(knots, CUBIC_JERK + 12 * CUBIC_END)
    return min(acceleration / (RAMP_TICKS * period), jerk / interpolants)


def generator_limits(operating: ArmLimits, period: float) -> GeneratorLimits:
    """Limits for the generator at a period [s], so that all curves keep the operating limits."""
    pairs = zip(operating.acceleration, operating.jerk, strict=True)
    jerk = [generator_jerk(a, j, period) * (1 - HAIR) for a, j in pairs]
    return GeneratorLimits(
        lower=[q + margin(j, period) for q, j in zip(operating.lower, jerk, strict=True)],
        upper=[q - margin(j, period) for q, j in zip(operating.upper, jerk, strict=True)],
        velocity=[
            v * (1 - HAIR) - 0.5 * j * period**2
            for v, j in zip(operating.velocity, jerk, strict=True)
        ],
        acceleration=[
            a * (1 - HAIR) - QUINTIC_ACCELERATION * j * period
            for a, j in zip(operating.acceleration, jerk, strict=True)
        ],
        jerk=jerk,
        period=period,
    )


def margin(jerk: float, period: float) -> float:
    """Distance that the generator keeps from a position limit [rad]: overshoot and rounding."""
    return 1e-6 + jerk * period**3 / 20


def edge_is_smooth(
    before: tuple[float, float, float],
    after: tuple[float, float, float],
    jerk: float,
    period: float,
) -> bool:
    """Whether two samples (q, v, a) of one joint, a period [s] apart, can lie on a smooth curve.

    Necessary for a curve with |q'''| <= jerk, and sufficient for the bounds of this module.
    """
    q0, v0, a0 = before
    q1, v1, a1 = after
    bound = jerk * period * (1 + 1e-7) + 1e-7
    rise = 6 * (q1 - q0) / period
    start = (rise - 4 * v0 - 2 * v1) / period
    end = (2 * v0 + 4 * v1 - rise) / period
    return (
        abs(a1 - a0) <= bound
        and abs(start - a0) <= CUBIC_END * bound
        and abs(end - a1) <= CUBIC_END * bound
    )


def cubic(before: Samples, after: Samples, period: float, u: FloatArray) -> FloatArray:
    """Positions [rad] of the cubics between samples at u in [0, 1] (adapter `JointState`).

    before, after: (q, v, a), arrays of one shape, which u can be broadcast to.
    """
    (q0, v0, _), (q1, v1, _) = before, after
    w = 1 - u
    return (
        q0 * (1 + 2 * u) * w * w
        + v0 * period * u * w * w
        + q1 * u * u * (3 - 2 * u)
        - v1 * period * u * u * w
    )


def quintic(before: Samples, after: Samples, period: float, u: FloatArray) -> FloatArray:
    """Positions [rad] of the quintics between samples (adapter `JointTrajectory`)."""
    (q0, v0, a0), (q1, v1, a1) = before, after
    rise = 6 * (q1 - q0) / period
    d0 = a0 - (rise - 4 * v0 - 2 * v1) / period
    d1 = a1 - (2 * v0 + 4 * v1 - rise) / period
    w = 1 - u
    bend = d0 * u * u * w**3 + d1 * w * w * u**3
    return cubic(before, after, period, u) + 0.5 * period * period * bend
