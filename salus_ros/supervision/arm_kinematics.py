"""Where a Panda's or FR3's elbow, flange, tool and fingertips are, and how fast the tool moves.

From the manufacturer's modified DH parameters, the same for both arms (Franka, "Robot and
interface specifications": d1 = 0.333, d3 = 0.316, a4 = 0.0825, a5 = -0.0825, d5 = 0.384,
a7 = 0.088, flange 0.107 m), written out frame by frame in plain arithmetic. So one piece of code
serves a tick, in floats (some 15 us; numpy needs ten times that for 7 joints), and whole plans, in
numpy columns. All twists between the axes are right angles, which leaves sums of axes to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salus_ros.interfaces import FloatArray

D1, D3, D5 = 0.333, 0.316, 0.384
A4, A7 = 0.0825, 0.088
FLANGE = 0.107
JOINTS = 7

# x, y, z: floats, or numpy columns [rows].
Vector = tuple[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """What is mounted on the flange.

    length: from the flange along its axis to the point between the fingertips [m]; finger: from
    there to each fingertip [m] (0: no fingers), along the Franka Hand's y axis, which is turned by
    -45 degrees against the flange.
    """

    length: float
    finger: float


@dataclass(frozen=True, slots=True)
class Posture:
    """Joint axes 1 to 6 with a point on each, and the points of interest, in the base frame [m].

    The seventh axis runs through flange and tool and moves neither.
    """

    axes: tuple[Vector, ...]
    origins: tuple[Vector, ...]
    elbow: Vector
    flange: Vector
    tool: Vector
    fingers: tuple[Vector, Vector]

    @property
    def points(self) -> tuple[Vector, ...]:
        """All points, in the order of POINT_NAMES."""
        return (self.elbow, self.flange, self.tool, *self.fingers)


POINT_NAMES = ("elbow", "flange", "tool point", "left fingertip", "right fingertip")


def posture(positions: Sequence[Any] | FloatArray, tool: Tool) -> Posture:
    """Where everything is at joint positions [7] rad: floats, or columns of numpy rows."""
    if isinstance(positions[0], np.ndarray):
        return _posture(positions, tool, np.sin, np.cos)
    return _posture(positions, tool, math.sin, math.cos)


def _posture(
    q: Sequence[Any] | FloatArray, tool: Tool, sin: Callable[[Any], Any], cos: Callable[[Any], Any]
) -> Posture:
    c1, s1, c2, s2 = cos(q[0]), sin(q[0]), cos(q[1]), sin(q[1])
    zero = 0.0 * c1
    z1 = (zero, zero, zero + 1.0)
    shoulder = (zero, zero, zero + D1)
    z2 = (-s1, c1, zero)
    x2 = (c2 * c1, c2 * s1, -s2)
    z3 = (s2 * c1, s2 * s1, c2)
    x3, y3 = _turned(x2, z2, cos(q[2]), sin(q[2]))
    o3 = _along(shoulder, D3, z3)
    elbow = _along(o3, A4, x3)
    z4 = _minus(y3)
    x4, z5 = _turned(x3, z3, cos(q[3]), sin(q[3]))
    wrist = _along(_along(elbow, -A4, x4), D5, z5)
    x5, y5 = _turned(x4, _minus(z4), cos(q[4]), sin(q[4]))
    z6 = _minus(y5)
    x6, y6 = _turned(x5, z5, cos(q[5]), sin(q[5]))
    z7 = _minus(y6)
    o7 = _along(wrist, A7, x6)
    x7, y7 = _turned(x6, z6, cos(q[6]), sin(q[6]))
    point = _along(o7, FLANGE + tool.length, z7)
    spread = tool.finger * math.sqrt(0.5)
    across = (spread * (x7[0] + y7[0]), spread * (x7[1] + y7[1]), spread * (x7[2] + y7[2]))
    return Posture(
        axes=(z1, z2, z3, z4, z5, z6),
        origins=(shoulder, shoulder, shoulder, elbow, wrist, wrist),
        elbow=elbow,
        flange=_along(o7, FLANGE, z7),
        tool=point,
        fingers=(_along(point, 1.0, across), _along(point, -1.0, across)),
    )


def _turned(x: Vector, y: Vector, c: Any, s: Any) -> tuple[Vector, Vector]:
    """Two axes turned in their own plane."""
    return (
        (c * x[0] + s * y[0], c * x[1] + s * y[1], c * x[2] + s * y[2]),
        (c * y[0] - s * x[0], c * y[1] - s * x[1], c * y[2] - s * x[2]),
    )


def _along(point: Vector, distance: float, axis: Vector) -> Vector:
    return (
        point[0] + distance * axis[0],
        point[1] + distance * axis[1],
        point[2] + distance * axis[2],
    )


def _minus(axis: Vector) -> Vector:
    return (-axis[0], -axis[1], -axis[2])


def tool_jacobian(place: Posture) -> list[Vector]:
    """Velocity of the tool point for 1 rad/s of each of joints 1 to 6 [m/s]; joint 7: none."""
    x, y, z = place.tool
    columns = []
    for (a, b, c), (ox, oy, oz) in zip(place.axes, place.origins, strict=True):
        dx, dy, dz = x - ox, y - oy, z - oz
        columns.append((b * dz - c * dy, c * dx - a * dz, a * dy - b * dx))
    return columns


def tool_speed(jacobian: Sequence[Vector], velocities: Sequence[Any] | FloatArray) -> Any:
    """Speed of the tool point [m/s] at joint velocities [7] rad/s: floats, or numpy columns."""
    x = y = z = 0.0
    for (jx, jy, jz), v in zip(jacobian, velocities, strict=False):
        x, y, z = x + jx * v, y + jy * v, z + jz * v
    return (x * x + y * y + z * z) ** 0.5


def lever_bounds(tool: Tool) -> list[float]:
    """Largest distance of any of the points from each joint's axis, in any posture [7] m."""
    reach = math.hypot(A7, FLANGE + tool.length) + tool.finger
    forearm = math.hypot(A4, D5) + reach
    upper_arm = math.hypot(A4, D3) + forearm
    # Joint 3 turns the elbow about the upper arm's axis, joint 5 the wrist about the forearm's.
    return [upper_arm, upper_arm, A4 + forearm, forearm, reach, reach, tool.finger]
