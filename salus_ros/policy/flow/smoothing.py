"""Chunks as smooth curves: the sampler's residual noise must not reach the arm.

Each row of a sampled chunk has an error of its own, a share of what targets at that row vary by; as
positions 33 ms apart, a few milliradians ask for accelerations that no arm has. Motions here are
smooth, so the rows are replaced by the uniform cubic B-spline that fits them best, each row weighed
by its scale, together with the two points that are known: where the plan is, and where it just was.
Fitting is linear, so it is one matrix for each dimension, made beforehand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray

CONTROL_POINTS = 9
KNOWN_WEIGHT = 20.0
"""Weight of a known point, against 1 for the best of the others."""


def spline_basis(points: int, at: NDArray[np.floating[Any]]) -> FloatArray:
    """Weights [len(at), points] of a uniform cubic B-spline's control points; at: 0 to 1."""
    place = np.clip(at, 0.0, 1.0) * (points - 3)
    first = np.minimum(place.astype(np.int64), points - 4)
    f = place - first
    weights = np.stack([(1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, 3 * (f + f**2 - f**3) + 1, f**3], 1)
    basis = np.zeros((len(at), points))
    for k in range(4):
        basis[np.arange(len(at)), first + k] = weights[:, k] / 6
    return basis


def smoothing_matrices(scale: FloatArray) -> FloatArray:
    """For each dimension the matrix [dims, rows, rows + 1] that smooths a chunk.

    scale [rows, dims]: how much a row's target varies. A matrix takes the point one row before the
    chunk, then the chunk's rows, of which the first is known.
    """
    rows, dims = scale.shape
    basis = spline_basis(CONTROL_POINTS, np.arange(rows + 1) / float(rows))
    matrices = np.empty((dims, rows, rows + 1))
    for j in range(dims):
        best = scale[1:, j].min()
        weights = np.concatenate([[KNOWN_WEIGHT, KNOWN_WEIGHT], best / scale[1:, j]])
        fit = np.linalg.pinv(basis * weights[:, None]) * weights
        matrices[j] = basis[1:] @ fit
    return matrices
