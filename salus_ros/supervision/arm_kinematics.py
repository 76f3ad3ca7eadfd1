"""Where a Panda's or FR3's elbow, flange, tool and fingertips are, and how fast the tool moves.

From the manufacturer's modified DH parameters, the same for both arms (Franka, "Robot and
interface specifications": d1 = 0.333, d3 = 0.316, a4 = 0.0825, a5 = -0.0825, d5 = 0.384,
a7 = 0.088, flange 0.107 m), written out frame by frame in plain arithmetic: one posture, for a
tick. Many rows at once are `arm_columns`, which multiplies matrices. All twists between the axes
are right angles, which leaves sums of axes to do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

D1: Final = 0.333
D3: Final = 0.316
D5: Final = 0.384
A4: Final = 0.0825
A7: Final = 0.088
FLANGE: Final = 0.107
JOINTS: Final = 7

Vector = tuple[float, float, float]
# Of joints 1 to 6.
Vectors = tuple[Vector, Vector, Vector, Vector, Vector, Vector]


@dataclass(frozen=True, slots=True)
class Tool:
    """What is mounted on the flange.

    length: from the flange along its axis to the point between the fingertips [m]; finger: from
    there to each fingertip [m] (0: no fingers), along the Franka Hand's y axis, which is turned by
    -45 degrees against the flange.
    """

    length: float
    finger: float


class Posture:
    """Joint axes 1 to 6 with a point on each, and the points of interest, in the base frame [m].

    The seventh axis runs through flange and tool and moves neither.
    """

    # No dataclass: mypyc makes this one in a tenth of the time, some times a tick.
    __slots__ = ("axes", "elbow", "fingers", "flange", "origins", "tool")

    def __init__(
        self,
        axes: Vectors,
        origins: Vectors,
        elbow: Vector,
        flange: Vector,
        tool: Vector,
        fingers: tuple[Vector, Vector],
    ) -> None:
        self.axes, self.origins = axes, origins
        self.elbow, self.flange, self.tool, self.fingers = elbow, flange, tool, fingers

    @property
    def points(self) -> tuple[Vector, Vector, Vector, Vector, Vector]:
        """All points, in the order of POINT_NAMES."""
        return (self.elbow, self.flange, self.tool, self.fingers[0], self.fingers[1])


POINT_NAMES: Final = ("elbow", "flange", "tool point", "left fingertip", "right fingertip")


def posture(q: list[float], tool: Tool) -> Posture:
    """Where everything is at joint positions [7] rad."""
    c1, s1 = math.cos(q[0]), math.sin(q[0])
    c2, s2 = math.cos(q[1]), math.sin(q[1])
    z1 = (0.0, 0.0, 1.0)
    shoulder = (0.0, 0.0, D1)
    z2 = (-s1, c1, 0.0)
    x2 = (c2 * c1, c2 * s1, -s2)
    z3 = (s2 * c1, s2 * s1, c2)
    x3, y3 = _turned(x2, z2, q[2])
    o3 = _along(shoulder, D3, z3)
    elbow = _along(o3, A4, x3)
    z4 = _minus(y3)
    x4, z5 = _turned(x3, z3, q[3])
    wrist = _along(_along(elbow, -A4, x4), D5, z5)
    x5, y5 = _turned(x4, _minus(z4), q[4])
    z6 = _minus(y5)
    x6, y6 = _turned(x5, z5, q[5])
    z7 = _minus(y6)
    o7 = _along(wrist, A7, x6)
    x7, y7 = _turned(x6, z6, q[6])
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


def _turned(x: Vector, y: Vector, angle: float) -> tuple[Vector, Vector]:
    """Two axes turned in their own plane."""
    c, s = math.cos(angle), math.sin(angle)
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


def tool_jacobian(place: Posture) -> Vectors:
    """Velocity of the tool point for 1 rad/s of each of joints 1 to 6 [m/s]; joint 7: none."""
    axes, origins, tool = place.axes, place.origins, place.tool
    return (
        _swept(axes[0], origins[0], tool),
        _swept(axes[1], origins[1], tool),
        _swept(axes[2], origins[2], tool),
        _swept(axes[3], origins[3], tool),
        _swept(axes[4], origins[4], tool),
        _swept(axes[5], origins[5], tool),
    )


def _swept(axis: Vector, origin: Vector, point: Vector) -> Vector:
    """Velocity of a point that turns about an axis at 1 rad/s."""
    x, y, z = point[0] - origin[0], point[1] - origin[1], point[2] - origin[2]
    return (axis[1] * z - axis[2] * y, axis[2] * x - axis[0] * z, axis[0] * y - axis[1] * x)


def distance(a: Vector, b: Vector) -> float:
    """Between two points."""
    return _length((a[0] - b[0], a[1] - b[1], a[2] - b[2]))


def lengths(columns: Vectors) -> list[float]:
    """Length of each vector [6]."""
    a, b, c, d, e, f = columns
    return [_length(a), _length(b), _length(c), _length(d), _length(e), _length(f)]


def _length(v: Vector) -> float:
    return math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])


def tool_speed(jacobian: Vectors, v: list[float]) -> float:
    """Speed of the tool point [m/s] at joint velocities [7] rad/s."""
    a, b, c, d, e, f = jacobian
    v1, v2, v3, v4, v5, v6 = v[0], v[1], v[2], v[3], v[4], v[5]
    x = a[0] * v1 + b[0] * v2 + c[0] * v3 + d[0] * v4 + e[0] * v5 + f[0] * v6
    y = a[1] * v1 + b[1] * v2 + c[1] * v3 + d[1] * v4 + e[1] * v5 + f[1] * v6
    z = a[2] * v1 + b[2] * v2 + c[2] * v3 + d[2] * v4 + e[2] * v5 + f[2] * v6
    return _length((x, y, z))


def lever_bounds(tool: Tool) -> list[float]:
    """Largest distance of any of the points from each joint's axis, in any posture [7] m."""
    reach = math.hypot(A7, FLANGE + tool.length) + tool.finger
    forearm = math.hypot(A4, D5) + reach
    upper_arm = math.hypot(A4, D3) + forearm
    # Joint 3 turns the elbow about the upper arm's axis, joint 5 the wrist about the forearm's.
    return [upper_arm, upper_arm, A4 + forearm, forearm, reach, reach, tool.finger]
