"""Distance of a row from the bulk of recorded rows: Mahalanobis, robust to their outliers.

Each dimension is centred at its median and divided by its scale, rows far out are pulled in to a
radius that 9 of 10 stay inside, and the covariance of what results is shrunk towards its mean
variance. Recorded motion has heavy tails: with the plain covariance, few wild steps widen the
measure for all (on the DROID steps the AUC falls from 0.9997 to 0.9994).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.errors import DetectorError

# A near-constant dimension is taken to vary by this share of its range.
FLOOR = 1e-3
# Standard deviation of a normal distribution per median absolute deviation.
MAD_TO_DEVIATION = 1.4826
# Rows beyond this quantile of the radius are pulled in before the covariance is taken.
RADIUS_QUANTILE = 0.9
SHRINKAGE_LEAST, SHRINKAGE_MOST = 1e-3, 0.5
# Shrinkage is this many dimensions per row: what the covariance of so few rows can't know.
SHRINKAGE_DIMS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """center [dims]; matrix [dims, dims]: (row - center) @ matrix has unit covariance."""

    center: FloatArray
    matrix: FloatArray

    def coordinates(self, rows: FloatArray) -> FloatArray:
        """Rows [n, dims] in axes of unit variance, those of the smallest variance first."""
        coordinates: FloatArray = (rows - self.center) @ self.matrix
        return coordinates

    def distance(self, rows: FloatArray) -> FloatArray:
        """Mahalanobis distance [n] of rows [n, dims]."""
        whitened = self.coordinates(rows)
        distance: FloatArray = np.sqrt(np.einsum("ij,ij->i", whitened, whitened))
        return distance


def scales(rows: FloatArray, ranges: FloatArray) -> FloatArray:
    """Typical deviation [dims] of rows [n, dims]; ranges [dims]: span of each dimension.

    The median absolute deviation, and the standard deviation where more than half of the values
    repeat (a gripper). At least a thousandth of the range.
    """
    floor = FLOOR * ranges
    deviation = MAD_TO_DEVIATION * np.median(np.abs(rows - np.median(rows, axis=0)), axis=0)
    deviation = np.where(deviation <= floor, rows.std(axis=0), deviation)
    scale: FloatArray = np.maximum(deviation, floor)
    return scale


def fit_whitening(rows: FloatArray, ranges: FloatArray) -> Whitening:
    """Whitening of rows [n, dims]; ranges [dims], > 0. DetectorError for rows it can't be of."""
    if rows.ndim != 2 or len(rows) <= rows.shape[1]:
        raise DetectorError(
            f"rows of shape {rows.shape}: more rows than dimensions are needed, record more"
        )
    if not np.isfinite(rows).all():
        raise DetectorError("calibration rows that are not finite: leave them out")
    center, scale = np.median(rows, axis=0), scales(rows, ranges)
    variances, axes = np.linalg.eigh(_covariance((rows - center) / scale))
    return Whitening(center, axes / np.sqrt(variances) / scale[:, None])


def _covariance(scaled: FloatArray) -> FloatArray:
    """Covariance [dims, dims] of scaled rows [n, dims], the far ones pulled in, then shrunk."""
    count, dims = scaled.shape
    radius = np.sqrt((scaled**2).sum(axis=1))
    bound = np.quantile(radius, RADIUS_QUANTILE)
    if bound > 0:
        scaled = scaled * np.minimum(1.0, bound / np.maximum(radius, 1e-300))[:, None]
    covariance = scaled.T @ scaled / count
    shrinkage = min(max(SHRINKAGE_DIMS * dims / count, SHRINKAGE_LEAST), SHRINKAGE_MOST)
    # Rows that are all alike have no covariance; their scale is then the floor's.
    mean = max(float(np.trace(covariance)) / dims, 1e-6)
    shrunk: FloatArray = (1 - shrinkage) * covariance + shrinkage * mean * np.eye(dims)
    return shrunk
