"""Top-down kinematics of the Panda with the 2F-85, in closed form.

With joints 3 and 5 at zero the arm is planar: joint 1 turns the plane towards the target, joints
2, 4 and 6 place the wrist in it with the tool straight down, joint 7 sets the tool's yaw. That
fixes the redundancy, so a tool pose has one joint vector, reached without iteration, and the
path that led there doesn't matter. (A Jacobian solver would need a null-space task to get the
same, and drifts along it.)

In the plane, r outwards and z up, with the Panda's lengths in metres (Franka's DH table): the
shoulder at (0, D1), the elbow D3 along the upper arm and A4 off it, the wrist D5 along the
forearm and A4 back off it, the tool's axis A7 beside the wrist and TOOL below it.
"""

from __future__ import annotations

import numpy as np

from salus_ros.interfaces import FloatArray

D1, D3, D5 = 0.333, 0.316, 0.384
A4, A7 = 0.0825, 0.088
TOOL = 0.107 + 0.0038 + 0.145
"""From the wrist down to the point between the fingertips [m]: flange, mount, gripper."""

LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
"""The Panda's joint limits [7] rad."""
MAX_VELOCITY = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
"""The Panda's joint velocity limits [7] rad/s."""

_UPPER_ARM, _FOREARM = np.hypot(D3, A4), np.hypot(D5, A4)
_ELBOW_BEND = np.arctan2(D3, A4) + np.arctan2(D5, A4)
_YAW_OFFSET = np.pi / 4


def tool_down(x: float, y: float, z: float, yaw: float) -> FloatArray:
    """Joint positions [7] rad with the tool point at (x, y, z) m, straight down, turned by yaw.

    At yaw 0 the fingers close along y. Raises ValueError where the arm can't reach.
    """
    azimuth = np.arctan2(y, x)
    r, h = np.hypot(x, y) - A7, z + TOOL - D1
    reach = np.hypot(r, h)
    cosine = (_UPPER_ARM**2 + _FOREARM**2 - reach**2) / (2 * _UPPER_ARM * _FOREARM)
    if not abs(cosine) <= 1:
        raise ValueError(f"the arm can't reach ({x:.3f}, {y:.3f}, {z:.3f}) m from above")
    elbow = np.arccos(cosine)
    q4 = elbow + _ELBOW_BEND - 2 * np.pi
    inner = np.arccos((_UPPER_ARM**2 + reach**2 - _FOREARM**2) / (2 * _UPPER_ARM * reach))
    q2 = np.arctan2(r, h) - inner - np.arctan2(A4, D3)
    q7 = _YAW_OFFSET + azimuth - yaw
    q = np.array([azimuth, q2, 0.0, q4, 0.0, q2 - q4, q7])
    if np.any(q < LOWER) or np.any(q > UPPER):
        raise ValueError(f"({x:.3f}, {y:.3f}, {z:.3f}) m at yaw {yaw:.2f} is outside joint limits")
    return q


def tool_pose(positions: FloatArray) -> FloatArray:
    """Tool point and yaw (x, y, z m, yaw rad) of any joint positions [7] rad; tilt is left out."""
    pose = np.eye(4)
    for angle, (a, d, alpha) in zip(positions, _DH, strict=True):
        pose = pose @ _link(a, d, alpha, float(angle))
    point = pose @ np.array([0.0, 0.0, TOOL, 1.0])
    across = pose[:3, :3] @ _FINGER_AXIS
    return np.array([*point[:3], np.arctan2(across[0], -across[1])])


# Franka's modified DH parameters (a, d, alpha) of joints 1 to 7; the flange is part of TOOL.
_DH = (
    (0.0, D1, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, D3, np.pi / 2),
    (A4, 0.0, np.pi / 2),
    (-A4, D5, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (A7, 0.0, np.pi / 2),
)
# Along this direction of the last link's frame the fingers close.
_FINGER_AXIS = np.array([np.sin(_YAW_OFFSET), np.cos(_YAW_OFFSET), 0.0])


def _link(a: float, d: float, alpha: float, angle: float) -> FloatArray:
    c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
    return np.array(
        [
            [c, -s, 0.0, a],
            [s * ca, c * ca, -sa, -d * sa],
            [s * sa, c * sa, ca, d * ca],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
