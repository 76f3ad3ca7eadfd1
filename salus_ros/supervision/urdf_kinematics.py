"""Whether a URDF describes the arm whose kinematics check 6 knows: a Panda or FR3.

Those are built in (`arm_kinematics`), written out for the budget of a tick. A URDF that comes along
is held against them in a few postures: the workspace of an arm of other lengths would be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.arm_kinematics import FLANGE, JOINTS, Tool, posture
from salus_ros.supervision.errors import LimitsError
from salus_ros.supervision.limits import parse_urdf

# Axes and the flange may lie so far from the built-in ones [m]; rounding of a URDF is below.
AGREEMENT = 0.001
POSTURES = np.random.default_rng(0).uniform(-1.5, 1.5, (4, JOINTS))


def check_kinematics(text: str, joints: Sequence[str]) -> None:
    """LimitsError, one line, where the named joints [7] of a URDF aren't a Panda's or FR3's.

    Frames before the first joint don't matter: a workspace is given in the arm's own base frame.
    """
    elements = {element.get("name"): element for element in parse_urdf(text).iter("joint")}
    frames = [_Joint(name, elements.get(name)) for name in joints]
    for q in POSTURES:
        _compare(frames, q)


class _Joint:
    """A joint's place in its parent's frame, and its axis."""

    def __init__(self, name: str, element: ElementTree.Element | None) -> None:
        if element is None:
            raise LimitsError(f"URDF: there is no joint '{name}'")
        origin, axis = element.find("origin"), element.find("axis")
        self.name = name
        self.place = _numbers(name, origin, "xyz", "0 0 0")
        self.turn = _rotation(_numbers(name, origin, "rpy", "0 0 0"))
        self.axis = _numbers(name, axis, "xyz", "1 0 0")


def _numbers(name: str, element: ElementTree.Element | None, key: str, default: str) -> FloatArray:
    text = default if element is None else element.get(key, default)
    try:
        values = np.array([float(part) for part in text.split()])
    except ValueError:
        values = np.empty(0)
    if values.shape != (3,) or not np.isfinite(values).all():
        raise LimitsError(f"URDF: joint '{name}' has {key}={text!r}: give three numbers")
    return values


def _rotation(rpy: FloatArray) -> FloatArray:
    """Fixed-axis roll, pitch, yaw [rad], as URDF has them."""
    x, y, z = np.eye(3)
    return _about(z, rpy[2]) @ _about(y, rpy[1]) @ _about(x, rpy[0])


def _about(axis: FloatArray, angle: float) -> FloatArray:
    """Rotation about a unit axis (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: FloatArray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation


def _compare(joints: Sequence[_Joint], q: FloatArray) -> None:
    built_in = posture(q.tolist(), Tool(0.0, 0.0))
    place: FloatArray = np.zeros(3)
    turn: FloatArray = np.eye(3)
    for index, (joint, angle) in enumerate(zip(joints, q, strict=True)):
        place = place + turn @ joint.place
        turn = turn @ joint.turn
        axis = turn @ joint.axis
        if index < len(built_in.axes):
            # A point may lie anywhere on its axis.
            apart = np.cross(place - built_in.origins[index], built_in.axes[index])
            off = max(_norm(apart), _norm(axis - built_in.axes[index]))
        else:
            off = _norm(place + FLANGE * axis - built_in.flange)
        if not off <= AGREEMENT:
            raise LimitsError(
                f"URDF: joint '{joint.name}' lies {off:.3g} (m, or of its axis) from a Panda's or "
                "FR3's, the only arms whose workspace can be guarded: give an empty `workspace`"
            )
        turn = turn @ _about(joint.axis, angle)


def _norm(values: NDArray[np.floating[Any]]) -> float:
    return float(np.linalg.norm(values))
