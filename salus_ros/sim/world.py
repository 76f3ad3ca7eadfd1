"""Names and sizes of the simulated rig, for those who need no simulation: no MuJoCo here."""

from __future__ import annotations

import numpy as np

JOINT_NAMES = tuple(f"panda_joint{i}" for i in range(1, 8))
GRIPPER_NAME = "panda_gripper"
CAMERAS = ("front", "wrist")
COLORS = ("red", "green", "blue", "yellow")
DISTRACTOR = "distractor"

TIME_STEP = 2_000_000
"""Physics time step [ns]."""
BLOCK_SIZE = 0.04
"""Edge of a block [m]."""
BLOCK_MASS = 0.05

HOME = np.array([0.0, -0.30721, 0.0, -2.35591, 0.0, 2.04870, 0.78540])
"""Joint positions [7] rad with the tool point 30 cm above the table, pointing down."""
