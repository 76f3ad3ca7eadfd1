"""Whether recorded commands stay inside limits: by divided differences and on adapters' curves.

Used by tests and by whoever has recorded `/joint_commands`. It knows nothing of how the commands
were made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from salus_ros.interfaces import FloatArray, JointCommand, seconds
from salus_ros.supervision.arm_columns import postures, tool_speeds
from salus_ros.supervision.arm_kinematics import POINT_NAMES
from salus_ros.supervision.interpolation import CONTROLLER_PERIOD, Samples, cubic, quintic
from salus_ros.supervision.limits import ArmLimits
from salus_ros.supervision.workspace import Workspace

# Rounding of a third difference of radians over 1 ms is 1e-5 rad/s^3, of limits above 1000.
RELATIVE_TOLERANCE = 1e-6
POSITION_TOLERANCE = 1e-9

# Joins two samples (q, v, a), arrays of equal shape, a period apart, at u in [0, 1].
Interpolant = Callable[[Samples, Samples, float, FloatArray], FloatArray]

QUANTITIES = ("velocity", "acceleration", "jerk")


@dataclass(frozen=True, slots=True)
class Violation:
    """One quantity of one joint beyond its limit: where, by what measure, how far."""

    measure: str
    quantity: str
    joint: str
    tick: int
    value: float
    bound: float

    def __str__(self) -> str:
        return (
            f"tick {self.tick}: {self.quantity} of {self.joint} is {self.value:.6g} by "
            f"{self.measure}, beyond {self.bound:.6g}"
        )


CURVES: Mapping[str, Interpolant] = MappingProxyType({"cubic": cubic, "quintic": quintic})


def verify(
    commands: Sequence[JointCommand],
    operating: ArmLimits,
    period: int,
    fraction: float,
    *,
    from_rest: bool = True,
    curves: Sequence[str] = tuple(CURVES),
) -> list[Violation]:
    """All violations of the operating limits in commands one period [ns] apart.

    from_rest: the first command comes after a long rest at its position. fraction: of the velocity
    envelope (positions and velocities are judged against it at the samples). curves: which of
    CURVES the commands' adapter stands for; without the quintic, accelerations aren't looked at,
    for then the adapter carries none.
    """
    found = _stamps(commands, period)
    q, v, a = (
        np.array([getattr(command, name) for command in commands])
        for name in ("positions", "velocities", "accelerations")
    )
    step = seconds(period)
    found += _samples(q, v, a if "quintic" in curves else np.zeros_like(a), operating)
    found += _envelopes(q, v, operating, fraction)
    rested, lead = (_rested(q), 3) if from_rest else (q, 0)
    found += _differences(rested, step, operating, "differences of positions", lead)
    for name in curves:
        fine = _sampled(CURVES[name], q, v, a, step)
        fine = _rested(fine) if from_rest else fine
        found += _positions(fine, operating, f"{name} at 1 kHz", step)
        ticks = CONTROLLER_PERIOD / step
        found += _differences(fine, CONTROLLER_PERIOD, operating, f"{name} at 1 kHz", 0, ticks)
    return found


def verify_space(
    commands: Sequence[JointCommand], workspace: Workspace, tool_speed_limit: float
) -> list[Violation]:
    """Commands with a point outside the workspace [m], or the tool faster than its limit [m/s]."""
    q = np.array([command.positions for command in commands])
    v = np.array([command.velocities for command in commands])
    return space_violations(q, v, workspace, tool_speed_limit)


def space_violations(
    q: FloatArray, v: FloatArray, workspace: Workspace, tool_speed_limit: float
) -> list[Violation]:
    """The same for positions [n, 7] rad and velocities [n, 7] rad/s."""
    places = postures(q, workspace.tool)
    margins = workspace.margin_columns(places)
    speeds = tool_speeds(places, v)[:, None]
    zero, limit = np.zeros(len(margins)), np.array([tool_speed_limit])
    outside = _beyond(-margins.T, zero, "samples", "position", POINT_NAMES)
    return outside + _beyond(speeds, limit, "samples", "velocity", ("tool point",))


def _rested(q: FloatArray) -> FloatArray:
    return np.concatenate((np.repeat(q[:1], 3, axis=0), q))


def _stamps(commands: Sequence[JointCommand], period: int) -> list[Violation]:
    steps = [(k, b.stamp - a.stamp) for k, (a, b) in enumerate(pairwise(commands), start=1)]
    return [
        Violation("stamps", "period", "all joints", k, float(step), float(period))
        for k, step in steps
        if step != period
    ]


def _samples(q: FloatArray, v: FloatArray, a: FloatArray, limits: ArmLimits) -> list[Violation]:
    found = _positions(q, limits, "samples", 1.0)
    for name, values, bound in (
        ("velocity", v, limits.velocity),
        ("acceleration", a, limits.acceleration),
    ):
        found += _beyond(np.abs(values), np.asarray(bound), "samples", name, limits.names)
    return found


def _positions(q: FloatArray, limits: ArmLimits, measure: str, step: float) -> list[Violation]:
    scale = 1.0 if measure == "samples" else CONTROLLER_PERIOD / step
    high = _beyond(q, np.asarray(limits.upper), measure, "position", limits.names, scale)
    low = _beyond(-q, -np.asarray(limits.lower), measure, "position", limits.names, scale)
    return high + low


def _envelopes(q: FloatArray, v: FloatArray, limits: ArmLimits, fraction: float) -> list[Violation]:
    found = []
    for j, envelope in enumerate(limits.envelopes):
        if envelope is None:
            continue
        room = np.where(
            v[:, j] > 0,
            np.sqrt(np.maximum(0, envelope.b * (envelope.upper - q[:, j]))),
            np.sqrt(np.maximum(0, envelope.b * (q[:, j] - envelope.lower))),
        )
        bound = fraction * np.maximum(0, room - envelope.a)
        # A joint at rest may stand where the envelope allows no velocity at all.
        over = np.abs(v[:, j]) - bound
        k = int(over.argmax())
        if over[k] > 1e-5:
            name, speed = limits.names[j], float(abs(v[k, j]))
            found.append(Violation("envelope", "velocity", name, k, speed, float(bound[k])))
    return found


def _differences(
    q: FloatArray, step: float, limits: ArmLimits, measure: str, lead: int, scale: float = 1.0
) -> list[Violation]:
    found = []
    values = q
    bounds = (limits.velocity, limits.acceleration, limits.jerk)
    for name, bound in zip(QUANTITIES, bounds, strict=True):
        values = np.diff(values, axis=0) / step
        if len(values):
            worst = _beyond(np.abs(values), np.asarray(bound), measure, name, limits.names, scale)
            found += worst
    return found if lead == 0 else [_moved(violation, lead) for violation in found]


def _moved(violation: Violation, lead: int) -> Violation:
    tick = max(violation.tick - lead, 0)
    return Violation(
        violation.measure,
        violation.quantity,
        violation.joint,
        tick,
        violation.value,
        violation.bound,
    )


def _beyond(
    values: FloatArray,
    bound: FloatArray,
    measure: str,
    quantity: str,
    names: Sequence[str],
    scale: float = 1.0,
) -> list[Violation]:
    """The worst violation of each joint; NaN counts as one."""
    slack = POSITION_TOLERANCE if quantity == "position" else RELATIVE_TOLERANCE * np.abs(bound)
    good = values <= bound + slack
    found = []
    for j in np.flatnonzero(~good.all(axis=0)).tolist():
        k = int(np.argmax(np.where(good[:, j], -np.inf, np.nan_to_num(values[:, j], nan=np.inf))))
        value, limit = float(values[k, j]), float(bound[j])
        found.append(Violation(measure, quantity, names[j], int(k * scale), value, limit))
    return found


def _sampled(
    curve: Interpolant, q: FloatArray, v: FloatArray, a: FloatArray, step: float
) -> FloatArray:
    """A curve through all samples, at the controller's rate: [times, joints]."""
    count = max(int((len(q) - 1) * step / CONTROLLER_PERIOD + 1e-6), 0) + 1
    place = np.arange(count) * CONTROLLER_PERIOD / step
    index = np.clip(np.floor(place + 1e-9).astype(int), 0, max(len(q) - 2, 0))
    u = (place - index)[:, None]
    later = np.minimum(index + 1, len(q) - 1)
    before, after = (q[index], v[index], a[index]), (q[later], v[later], a[later])
    return curve(before, after, step, u)
