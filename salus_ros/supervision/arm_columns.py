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

# Of each joint: a [m], d [m], sine and cosine of alpha.
_FRAMES = (
    (0.0, D1, 0.0, 1.0),
    (0.0, 0.0, -1.0, 0.0),
    (0.0, D3, 1.0, 0.0),
    (A4, 0.0, 1.0, 0.0),
    (-A4, D5, -1.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (A7, 0.0, 1.0, 0.0),
)


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
    origins, turns = _frames(rows)
    forward = turns[6][:, :, 2]
    # The fingers' axis is turned by -45 degrees against the flange.
    across = tool.finger * math.sqrt(0.5) * (turns[6][:, :, 0] + turns[6][:, :, 1])
    flange = origins[6] + FLANGE * forward
    point = origins[6] + (FLANGE + tool.length) * forward
    return Postures(
        points=np.stack((origins[3], flange, point, point + across, point - across)),
        axes=np.stack([turn[:, :, 2] for turn in turns[:6]]),
        origins=np.stack(origins[:6]),
    )


def _frames(rows: FloatArray) -> tuple[list[FloatArray], list[FloatArray]]:
    """Origin [n, 3] and rotation [n, 3, 3] of each joint's frame."""
    cosines, sines = np.cos(rows), np.sin(rows)
    origin, turn = np.zeros((len(rows), 3)), np.broadcast_to(np.eye(3), (len(rows), 3, 3))
    origins, turns = [], []
    for joint, (a, d, sa, ca) in enumerate(_FRAMES):
        c, s = cosines[:, joint], sines[:, joint]
        zero = np.zeros_like(c)
        local = np.array(((c, -s, zero), (s * ca, c * ca, zero - sa), (s * sa, c * sa, zero + ca)))
        origin = origin + turn @ np.array((a, -sa * d, ca * d))
        turn = turn @ local.transpose(2, 0, 1)
        origins.append(origin)
        turns.append(turn)
    return origins, turns


def tool_speeds(places: Postures, velocities: FloatArray) -> FloatArray:
    """Speed of the tool point [n] m/s at joint velocities [n, 7] rad/s."""
    swept = np.cross(places.axes, places.points[2] - places.origins)
    total = np.einsum("jnx,nj->nx", swept, velocities[:, :6])
    speeds: FloatArray = np.linalg.norm(total, axis=1)
    return speeds
