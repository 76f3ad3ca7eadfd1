"""The same as `arm_kinematics` for many rows at once: whole plans, recordings.

Another form of the same modified DH parameters, frame by frame with matrices (Craig, "Introduction
to robotics", 3rd edition, section 3.6), so that each checks the other in the tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.arm_kinematics import A4, A7, D1, D3, D5, FLANGE, Tool


def _frame(a: float, d: float, sa: float, ca: float) -> FloatArray:
    """A joint's frame in the one before: constant part, and those times its cosine and sine.

    a, d [m]; sa, ca: sine and cosine of alpha. [3, 4, 4]
    """
    constant = ((0, 0, 0, a), (0, 0, -sa, -sa * d), (0, 0, ca, ca * d), (0, 0, 0, 1))
    cosine = ((1, 0, 0, 0), (0, ca, 0, 0), (0, sa, 0, 0), (0, 0, 0, 0))
    sine = ((0, -1, 0, 0), (ca, 0, 0, 0), (sa, 0, 0, 0), (0, 0, 0, 0))
    return np.array((constant, cosine, sine), np.float64)


# Of all joints: [3, 7, 1, 4, 4].
_CONSTANT, _COSINE, _SINE = np.stack(
    (
        _frame(0.0, D1, 0.0, 1.0),
        _frame(0.0, 0.0, -1.0, 0.0),
        _frame(0.0, D3, 1.0, 0.0),
        _frame(A4, 0.0, 1.0, 0.0),
        _frame(-A4, D5, -1.0, 0.0),
        _frame(0.0, 0.0, 1.0, 0.0),
        _frame(A7, 0.0, 1.0, 0.0),
    ),
    axis=1,
)[:, :, None]


@dataclass(frozen=True, slots=True, eq=False)
class Postures:
    """n postures in the base frame [m].

    points [5, n, 3] in the order of POINT_NAMES; axes, origins [6, n, 3]: joints 1 to 6, and a
    point on each.
    """

    points: FloatArray
    axes: FloatArray
    origins: FloatArray


def postures(rows: FloatArray, tool: Tool) -> Postures:
    """Where everything is at rows [n, 7] rad."""
    frames = _frames(rows)
    origins = frames[:, :, :3, 3]
    x, y, forward = (frames[6, :, :3, column] for column in range(3))
    # The fingers' axis is turned by -45 degrees against the flange.
    across = tool.finger * math.sqrt(0.5) * (x + y)
    flange = origins[6] + FLANGE * forward
    point = flange + tool.length * forward
    return Postures(
        points=np.array((origins[3], flange, point, point + across, point - across)),
        axes=frames[:6, :, :3, 2],
        origins=origins[:6],
    )


def _frames(rows: FloatArray) -> FloatArray:
    """The joints' frames in the base's [7, n, 4, 4]."""
    angles = rows.T[:, :, None, None]
    frames: FloatArray = _CONSTANT + np.cos(angles) * _COSINE + np.sin(angles) * _SINE
    for joint in range(1, len(frames)):
        np.matmul(frames[joint - 1], frames[joint].copy(), out=frames[joint])
    return frames


def tool_speeds(places: Postures, velocities: FloatArray) -> FloatArray:
    """Speed of the tool point [n] m/s at joint velocities [n, 7] rad/s."""
    turning = places.axes * velocities.T[:6, :, None]
    way = places.points[2] - places.origins
    x, y, z = (turning[..., k] for k in range(3))
    rx, ry, rz = (way[..., k] for k in range(3))
    swept = np.array((y * rz - z * ry, z * rx - x * rz, x * ry - y * rx))
    speeds: FloatArray = np.sqrt((swept.sum(axis=1) ** 2).sum(axis=0))
    return speeds
