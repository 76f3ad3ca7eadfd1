"""A chunk's rows moved onto the time grid of the plan that is being executed.

Observations come at any moment, so the rows of a new chunk lie a fraction of a step beside those
of the old. Taking each row for its nearest grid time would shift the whole chunk by up to half a
step, by another amount each time: at 1 rad/s and 30 Hz, seams of 17 mrad. So the rows are
interpolated. Linear interpolation is no cure: between rows it cuts the corner of a curve by
acceleration * step^2 / 8, by another amount at each phase. Four-point Lagrange interpolation is
exact for cubics, and since all rows are shifted by the same fraction it is one fixed filter over
the chunk: no kinks. It overshoots a jump by up to an eighth of its height, so columns that jump,
such as a gripper's, are interpolated linearly.
"""

from __future__ import annotations

import numpy as np

from salus_ros.interfaces import FloatArray


def shift_rows(actions: FloatArray, fraction: float, linear_columns: int = 0) -> FloatArray:
    """Rows at the coordinates fraction, 1 + fraction, ... of the chunk; nothing is extrapolated.

    actions [rows >= 2, dims], fraction in [0, 1), linear_columns: how many of the last columns are
    interpolated linearly. Returns [rows, dims] where fraction is 0 (an exact copy), else
    [rows - 1, dims].
    """
    if fraction == 0.0:
        return np.array(actions, np.float64)
    shifted = _shift_cubic(actions, fraction)
    if linear_columns:
        tail = actions[:, -linear_columns:]
        shifted[:, -linear_columns:] = (1.0 - fraction) * tail[:-1] + fraction * tail[1:]
    return shifted


def _shift_cubic(actions: FloatArray, fraction: float) -> FloatArray:
    rows = len(actions)
    points = min(4, rows)
    left = np.arange(rows - 1)
    # The first and last interval have no neighbour on one side: the same points, used off-centre.
    first = np.clip(left - 1, 0, rows - points)
    position = np.asarray(left + fraction - first, np.float64)
    weights = lagrange_weights(position, points)
    picked = actions[first[:, None] + np.arange(points)]
    return np.asarray(np.einsum("rp,rpd->rd", weights, picked), np.float64)


def lagrange_weights(position: FloatArray, points: int) -> FloatArray:
    """Weights [n, points] of samples at 0, 1, ..., points - 1 for the value at position [n]."""
    weights = np.ones((len(position), points))
    for i in range(points):
        for j in range(points):
            if i != j:
                weights[:, i] *= (position - j) / (i - j)
    return weights
