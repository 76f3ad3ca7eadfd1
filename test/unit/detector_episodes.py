"""Small synthetic normal episodes for the tests of the detectors."""

import numpy as np

from salus_ros.supervision.detectors.calibration import Identity
from salus_ros.supervision.detectors.rows import Episode

DIMS = 3
RANGES = np.array([4.0, 4.0, 4.0])
IDENTITY = Identity("tester", ("a", "b", "gripper"), 30.0)
STEP = 33_333_333


def episode(seed, rows=120):
    """Two smooth joints go to a goal, rest, and come back halfway; a gripper closes at once."""
    rng = np.random.default_rng(seed)
    goal = np.array([0.6, 0.9]) * rng.uniform(0.8, 1.2, 2)
    time = np.linspace(0, 1, rows)
    there = np.clip(time / 0.4, 0, 1)
    back = np.clip((time - 0.6) / 0.4, 0, 1)
    shape = smooth(there) - 0.5 * smooth(back)
    arm = shape[:, None] * goal + 1e-3 * rng.standard_normal((rows, 2))
    return Episode(np.column_stack([arm, (time > 0.5) * 1.0]))


def smooth(x):
    return x**3 * (10 - 15 * x + 6 * x**2)


def episodes(count, seed=0):
    return [episode(seed + i) for i in range(count)]
