"""A robot's limits: read from YAML or URDF, merged, scaled to what is allowed in operation.

The YAML has the form of ros2_control's `joint_limits`, with two keys of our own: a joint's
`velocity_envelope` (a, b, upper_position, lower_position) and, at the gripper's joint,
`max_velocity` of its opening width. Anything missing is an error of one line, never "unlimited".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from salus_ros.supervision.errors import LimitsError
from salus_ros.supervision.workspace import Workspace
from salus_ros.supervision.yaml_file import read_yaml


@dataclass(frozen=True, slots=True)
class VelocityEnvelope:
    """Velocity limit of a joint that shrinks towards its ends (FR3).

    speed <= max(0, -a + sqrt(max(0, b * distance))), a [rad/s], b [rad/s^2], the distance [rad]
    to `upper` going up, to `lower` going down. Source: libfranka, rate_limiting.h (FR3).
    """

    a: float
    b: float
    upper: float
    lower: float

    def up(self, position: float) -> float:
        """Largest velocity [rad/s, >= 0] towards the upper end at a position [rad]."""
        return max(0.0, math.sqrt(max(0.0, self.b * (self.upper - position))) - self.a)

    def down(self, position: float) -> float:
        """Largest speed [rad/s, >= 0] towards the lower end at a position [rad]."""
        return max(0.0, math.sqrt(max(0.0, self.b * (position - self.lower))) - self.a)


@dataclass(frozen=True, slots=True)
class ArmLimits:
    """Limits of an arm's joints, in their order [rad, rad/s, rad/s^2, rad/s^3]."""

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]
    envelopes: tuple[VelocityEnvelope | None, ...]

    def operating(self, fraction: float) -> ArmLimits:
        """Velocity, acceleration and jerk times a fraction in (0, 1]; positions as they are.

        Envelopes stay the robot's own here: `fraction` of them is held by the gate.
        """
        if not 0 < fraction <= 1:
            raise LimitsError(f"operating fraction {fraction:g} is not in (0, 1]: set it, say, 0.5")
        return replace(
            self,
            velocity=tuple(fraction * v for v in self.velocity),
            acceleration=tuple(fraction * a for a in self.acceleration),
            jerk=tuple(fraction * j for j in self.jerk),
        )


@dataclass(frozen=True, slots=True)
class GripperLimits:
    """Opening width [m] between `closed` and `open`, changed by at most `speed` [m/s]."""

    name: str
    closed: float
    open: float
    speed: float


@dataclass(frozen=True, slots=True)
class RobotLimits:
    """All limits of a robot; gripper None: it has none; workspace None: it isn't looked at."""

    arm: ArmLimits
    gripper: GripperLimits | None
    workspace: Workspace | None = None


def load_limits(path: Path, joints: Sequence[str], gripper: str = "") -> RobotLimits:
    """Limits of the named joints [rad] and gripper [m; "": none] from a YAML file.

    Raises LimitsError where the file can't be read or a limit is missing or senseless.
    """
    content = read_yaml(path)
    try:
        return limits_from_mapping(content, joints, gripper)
    except LimitsError as error:
        raise LimitsError(f"{path}: {error}") from error


def limits_from_mapping(content: Any, joints: Sequence[str], gripper: str = "") -> RobotLimits:
    """Limits of the named joints and gripper from a parsed `joint_limits` mapping."""
    entries = content.get("joint_limits") if isinstance(content, Mapping) else None
    if not isinstance(entries, Mapping):
        raise LimitsError(
            "no mapping 'joint_limits' at the top: write one entry per joint below it"
        )
    if not joints:
        raise LimitsError("no joint names given: name the arm's joints")
    arm = [_joint(name, _entry(entries, name)) for name in joints]
    return RobotLimits(
        arm=_arm(tuple(joints), arm),
        gripper=_gripper(gripper, _entry(entries, gripper)) if gripper else None,
    )


@dataclass(frozen=True, slots=True)
class _Joint:
    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float
    envelope: VelocityEnvelope | None


def _arm(names: tuple[str, ...], joints: Sequence[_Joint]) -> ArmLimits:
    return ArmLimits(
        names=names,
        lower=tuple(joint.lower for joint in joints),
        upper=tuple(joint.upper for joint in joints),
        velocity=tuple(joint.velocity for joint in joints),
        acceleration=tuple(joint.acceleration for joint in joints),
        jerk=tuple(joint.jerk for joint in joints),
        envelopes=tuple(joint.envelope for joint in joints),
    )


def _entry(entries: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    entry = entries.get(name)
    if not isinstance(entry, Mapping):
        raise LimitsError(f"joint '{name}' has no limits: add it below 'joint_limits'")
    return entry


def _joint(name: str, entry: Mapping[str, Any]) -> _Joint:
    lower, upper = _range(name, entry)
    return _Joint(
        lower=lower,
        upper=upper,
        velocity=_positive(name, entry, "velocity"),
        acceleration=_positive(name, entry, "acceleration"),
        jerk=_positive(name, entry, "jerk"),
        envelope=_envelope(name, entry.get("velocity_envelope")),
    )


def _gripper(name: str, entry: Mapping[str, Any]) -> GripperLimits:
    closed, opened = _range(name, entry)
    return GripperLimits(name, closed, opened, _positive(name, entry, "velocity"))


def _range(name: str, entry: Mapping[str, Any]) -> tuple[float, float]:
    _flag(name, entry, "position")
    lower, upper = _number(name, entry, "min_position"), _number(name, entry, "max_position")
    if lower >= upper:
        raise LimitsError(f"joint '{name}': min_position {lower:g} is not below max {upper:g}")
    return lower, upper


def _positive(name: str, entry: Mapping[str, Any], quantity: str) -> float:
    _flag(name, entry, quantity)
    value = _number(name, entry, f"max_{quantity}")
    if value <= 0:
        raise LimitsError(f"joint '{name}': max_{quantity} {value:g} is not above 0")
    return value


def _flag(name: str, entry: Mapping[str, Any], quantity: str) -> None:
    if entry.get(f"has_{quantity}_limits") is not True:
        raise LimitsError(
            f"joint '{name}' has no {quantity} limits: give them, has_{quantity}_limits true"
        )


def _number(name: str, entry: Mapping[str, Any], key: str) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise LimitsError(f"joint '{name}': {key} is {value!r}: give a finite number")
    return float(value)


def _envelope(name: str, entry: Any) -> VelocityEnvelope | None:
    if entry is None:
        return None
    if not isinstance(entry, Mapping):
        raise LimitsError(
            f"joint '{name}': velocity_envelope is {entry!r}: give a, b and both ends"
        )
    envelope = VelocityEnvelope(
        a=_number(name, entry, "a"),
        b=_number(name, entry, "b"),
        upper=_number(name, entry, "upper_position"),
        lower=_number(name, entry, "lower_position"),
    )
    if envelope.a < 0 or envelope.b <= 0 or envelope.lower >= envelope.upper:
        raise LimitsError(f"joint '{name}': velocity_envelope {entry!r} makes no sense")
    return envelope


@dataclass(frozen=True, slots=True)
class UrdfLimits:
    """What a URDF says of one joint: positions [rad] and velocity [rad/s]."""

    lower: float
    upper: float
    velocity: float


def parse_urdf(text: str) -> ElementTree.Element:
    """The root of a URDF; LimitsError, one line, where it isn't XML.

    A document type is refused: a URDF needs none, and entities in one can fill the memory.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise LimitsError("URDF: contains a document type or entities: remove them")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise LimitsError(f"URDF: not XML: {error}") from error


def limits_from_urdf(text: str, joints: Sequence[str]) -> dict[str, UrdfLimits]:
    """Limits of the named joints in a URDF; LimitsError where one has none."""
    elements = {element.get("name"): element for element in parse_urdf(text).iter("joint")}
    return {name: _urdf_joint(name, elements.get(name)) for name in joints}


def _urdf_joint(name: str, element: ElementTree.Element | None) -> UrdfLimits:
    limit = None if element is None else element.find("limit")
    if limit is None:
        raise LimitsError(
            f"URDF: joint '{name}' has no <limit>: add one, or give a limits file alone"
        )
    values = []
    for key in ("lower", "upper", "velocity"):
        try:
            value = float(limit.get(key, ""))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise LimitsError(f"URDF: joint '{name}': <limit> has {key}={limit.get(key)!r}")
        values.append(value)
    return UrdfLimits(*values)


def tighter(limits: RobotLimits, urdf: Mapping[str, UrdfLimits]) -> RobotLimits:
    """The tighter of both for each joint that the URDF names."""
    arm = limits.arm
    lower, upper, velocity = list(arm.lower), list(arm.upper), list(arm.velocity)
    for index, name in enumerate(arm.names):
        if name in urdf:
            lower[index] = max(lower[index], urdf[name].lower)
            upper[index] = min(upper[index], urdf[name].upper)
            velocity[index] = min(velocity[index], urdf[name].velocity)
            if lower[index] >= upper[index] or velocity[index] <= 0:
                raise LimitsError(
                    f"joint '{name}': limits file and URDF leave no range between them"
                )
    merged = replace(arm, lower=tuple(lower), upper=tuple(upper), velocity=tuple(velocity))
    return replace(limits, arm=merged)
