"""How a new chunk and the plan being executed become one.

A weight is the share of the old plan in a row: 1 keeps it, 0 takes the new chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from salus_ros.interfaces import FloatArray

MergingMode = Literal["latest", "weighted", "conservative", "temporal_ensemble", "rtc"]
RtcSchedule = Literal["zeros", "ones", "linear", "exp"]
MERGING_MODES: tuple[str, ...] = get_args(MergingMode)
RTC_SCHEDULES: tuple[str, ...] = get_args(RtcSchedule)

FADE_ROWS = 16
"""Rows over which chunks fade into each other: with fewer, seams show in the acceleration."""
LEAST_PRESENCE = 1e-6
"""A chunk's in an ensemble: where no other holds a row, it has the row to itself."""

_FIXED_SHARE = {"latest": 0.0, "weighted": 0.3, "conservative": 0.7}


def fixed_weights(mode: str, overlap: int) -> FloatArray:
    """Share of the old plan in each of the `overlap` rows that it has in common with a new chunk.

    For the modes `latest`, `weighted` and `conservative`. Returns [overlap] in [0, 1].
    """
    return np.full(overlap, _FIXED_SHARE[mode])


def rtc_weights(schedule: str, frozen: int, end: int, overlap: int) -> FloatArray:
    """Soft mask of real-time chunking (Black, Galliker, Levine, arXiv 2506.07339, equation 5).

    1 for the first `frozen` of the `overlap` rows; then, up to row `end`, with
    c = (end - i) / (end - frozen + 1): 0 (zeros), 1 (ones), c (linear) or
    c (e^c - 1) / (e - 1) (exp); 0 from there on. Returns [overlap] in [0, 1].
    """
    frozen = min(max(frozen, 0), overlap)
    end = min(max(end, frozen), overlap)
    ramp = (end - np.arange(frozen, end)) / (end - frozen + 1.0)
    shapes = {
        "zeros": np.zeros_like(ramp),
        "ones": np.ones_like(ramp),
        "linear": ramp,
        "exp": ramp * np.expm1(ramp) / np.expm1(1.0),
    }
    return np.concatenate([np.ones(frozen), shapes[schedule], np.zeros(overlap - end)])


def smooth_step(share: FloatArray) -> FloatArray:
    """From 0 at 0 to 1 at 1, with the first three derivatives 0 at both; clipped outside."""
    u = np.clip(share, 0.0, 1.0)
    return np.asarray(u**4 * (35.0 - 84.0 * u + 70.0 * u**2 - 20.0 * u**3))


def fade_weights(frozen: int, end: int, overlap: int) -> FloatArray:
    """Share of the old plan: all of the frozen rows, then a fade over FADE_ROWS, up to row `end`.

    A soft mask's corners would be jumps of velocity, and what is frozen ends in one of position
    where the new chunk is not exactly the old plan there. Returns [overlap] in [0, 1].
    """
    frozen = min(max(frozen, 0), overlap)
    end = min(max(end, frozen), overlap, frozen + FADE_ROWS)
    row = np.arange(overlap, dtype=np.float64)
    return 1.0 - smooth_step((row - frozen + 1.0) / (end - frozen + 1.0))


def presence(rows: int, entry: int) -> FloatArray:
    """How far a chunk takes part in an ensemble: it fades in from row `entry`, and out at its end.

    Where chunks came and went at once, the average would jump. A negative entry: so many rows
    before the chunk's first. Returns [rows] in (0, 1].
    """
    row = np.arange(rows, dtype=np.float64)
    comes = smooth_step((row - entry + 1.0) / (FADE_ROWS + 1.0))
    goes = smooth_step((rows - row) / (FADE_ROWS + 1.0))
    return np.maximum(comes * goes, LEAST_PRESENCE)


def blend(old: FloatArray, new: FloatArray, weights: FloatArray) -> FloatArray:
    """weights * old + (1 - weights) * new, row by row. old, new [rows, dims], weights [rows]."""
    return np.asarray(new + weights[:, None] * (old - new))


def temporal_ensemble(
    chunks: Sequence[tuple[int, FloatArray, FloatArray]], first: int, last: int, coefficient: float
) -> FloatArray:
    """Average of all chunks that hold a row, weighted exp(-coefficient * i), i = 0 the oldest.

    (Zhao et al., arXiv 2304.13705, algorithm 2.) chunks: (index of row 0, actions, presence
    [rows], which multiplies the weights), oldest first; at least one holds each of the rows
    first ... last. Returns [last - first + 1, dims].
    """
    dims = chunks[-1][1].shape[1]
    total = np.zeros((last - first + 1, dims))
    weight = np.zeros(last - first + 1)
    rank = np.zeros(last - first + 1)
    for start, actions, present in chunks:
        low, high = max(first, start), min(last, start + len(actions) - 1)
        if low > high:
            continue
        rows = slice(low - first, high - first + 1)
        held = slice(low - start, high - start + 1)
        share = np.exp(-coefficient * rank[rows]) * present[held]
        total[rows] += share[:, None] * actions[held]
        weight[rows] += share
        rank[rows] += 1.0
    return total / weight[:, None]
