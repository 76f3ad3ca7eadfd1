"""The Robotiq 2F-85: opening width against actuator command and driver angle.

Measured on the model itself, free of load (test_sim_controller holds the table against it).
"""

from __future__ import annotations

import numpy as np

MAX_WIDTH = 0.085
"""Fully open [m]; closed is 0."""
MAX_SPEED = 0.12
"""Fastest change of the opening [m/s], about 80 % of the real gripper's 150 mm/s."""

_CTRL = np.linspace(0.0, 255.0, 12)
_ANGLE = np.array(
    [0.0029, 0.0756, 0.1482, 0.2208, 0.2935, 0.3661, 0.4387, 0.5113, 0.5840, 0.6566, 0.7292, 0.7972]
)
_WIDTH = np.array(
    [0.0852, 0.0783, 0.0712, 0.0637, 0.0559, 0.0479, 0.0397, 0.0314, 0.0229, 0.0143, 0.0057, 0.0]
)


def actuator_command(width: float) -> float:
    """Actuator command (0 open to 255 closed) for an opening width [m]; clamped to the range."""
    return float(np.interp(width, _WIDTH[::-1], _CTRL[::-1]))


def opening_width(driver_angle: float) -> float:
    """Opening width [m] at the driver joint's angle [rad]."""
    return float(np.interp(driver_angle, _ANGLE, _WIDTH))
