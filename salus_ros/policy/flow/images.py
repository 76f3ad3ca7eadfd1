"""Camera images as the network takes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salus_ros.policy.backend import PolicyError


def scaled(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square image [size, size, 3], each pixel the mean over what it covers.

    image: [height, width, 3] uint8 RGB; the middle square is used. Raises PolicyError for another
    kind of array, or one smaller than `size`.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise PolicyError(
            f"image of shape {image.shape}, {image.dtype}: [height, width, 3] uint8 is needed"
        )
    height, width = image.shape[:2]
    side = min(height, width)
    if side < size:
        raise PolicyError(f"image of {width} x {height} px: at least {size} x {size} is needed")
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == size:
        return square
    if side % size == 0:
        factor = side // size
        blocks = square.reshape(size, factor, size, factor, 3)
        mean = blocks.mean((1, 3), dtype=np.float32)
    else:
        mean = _area_mean(_area_mean(square.astype(np.float32), size).swapaxes(0, 1), size)
        mean = mean.swapaxes(0, 1)
    return np.asarray(np.rint(mean), np.uint8)


def _area_mean(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Along the first axis, to `size` values, each the mean over its share of the axis."""
    count = len(values)
    sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, 0)])
    edges = np.linspace(0.0, count, size + 1)
    whole = np.minimum(edges.astype(np.int64), count - 1)
    share = (edges - whole).reshape(-1, *[1] * (values.ndim - 1))
    at_edges = sums[whole] + share * values[whole]
    return np.asarray(np.diff(at_edges, axis=0) * (size / count), np.float32)
