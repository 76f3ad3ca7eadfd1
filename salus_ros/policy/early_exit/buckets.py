"""Shares of MLP channels to skip: few, so that few graphs are captured."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BUCKETS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The shares that exist."""
NARROW = BUCKETS[1:]
"""Those that skip anything."""


def rounded_down(ratios: ArrayLike) -> NDArray[np.float64]:
    """The largest bucket that is no larger, of each ratio in [0, 1]."""
    values = np.asarray(ratios, np.float64)
    if not bool(np.all((values >= 0.0) & (values <= 1.0))):
        raise ValueError(f"ratio {values} is outside 0 to 1")
    buckets = np.array(BUCKETS)
    rounded: NDArray[np.float64] = buckets[np.searchsorted(buckets, values, "right") - 1]
    return rounded


def kept_channels(hidden: int, skip: float) -> int:
    """How many of `hidden` channels are computed where the share `skip` is not."""
    return hidden - round(hidden * skip)
