"""Figures of recorded ticks: periods of both nodes in the same spans of time, the tick's own work.

Quantiles are of all values, nothing is trimmed but what lies outside normal work: the first
`SETTLING` after each activation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_ros.bench.gate_record import Recording

SETTLING = 200_000_000  # ns
QUANTILES: Mapping[str, float] = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}

Times = NDArray[np.int64]


def periods(published: Sequence[int], spans: Sequence[tuple[int, int]]) -> Times:
    """Times between two commands [ns], both in the same span."""
    times = np.asarray(published, np.int64)
    found = [np.diff(times[(times >= begin + SETTLING) & (times < end)]) for begin, end in spans]
    return np.concatenate([np.zeros(0, np.int64), *found])


def figures(values: Times | Sequence[int], unit: float) -> dict[str, float]:
    """p50, p99, p999, max of values [ns] in units of so many ns; {} where there are none."""
    if not len(values):
        return {}
    found = np.quantile(np.asarray(values, float), list(QUANTILES.values())) / unit
    return {name: round(float(v), 4) for name, v in zip(QUANTILES, found, strict=True)}


def setting_figures(supervisor: Recording, bare: Recording, rate: int) -> dict[str, Any]:
    """One setting: periods [ms] of both nodes, their ratios, the tick's work [us].

    The ratio of a quantile is the supervisor's over the bare node's. tick_us: the tick's own work,
    until its command is ready to be published; publish_us: rclpy's publishing it, which the bare
    node does as well; tick_whole_us: the whole callback, with both; work_ahead_us: between ticks.
    """
    ours = periods(supervisor.published, supervisor.spans)
    theirs = periods(bare.published, supervisor.spans)
    if len(ours) < rate or len(theirs) < rate:
        raise ValueError(
            f"{len(ours)} and {len(theirs)} periods at {rate} Hz: too few for a figure"
        )
    period_ms = {"supervisor": figures(ours, 1e6), "bare": figures(theirs, 1e6)}
    ratios = {
        name: round(period_ms["supervisor"][name] / period_ms["bare"][name], 4)
        for name in QUANTILES
    }
    return {
        "realtime": {"supervisor": supervisor.realtime, "bare": bare.realtime},
        "periods": {"supervisor": len(ours), "bare": len(theirs)},
        "period_ms": period_ms,
        "ratios": ratios,
        "p999_of_nominal": round(period_ms["supervisor"]["p999"] * rate / 1000, 4),
        "bare_p999_of_nominal": round(period_ms["bare"]["p999"] * rate / 1000, 4),
        "tick_us": figures(supervisor.own, 1e3),
        "publish_us": figures(supervisor.publish, 1e3),
        "tick_whole_us": figures(supervisor.cpu, 1e3),
        "tick_wall_us": figures(supervisor.wall, 1e3),
        "work_ahead_us": figures(supervisor.ahead, 1e3),
        "following_share": round(float(np.mean(supervisor.following or [0])), 4),
        "new_chunk_ticks": chunk_figures(supervisor),
    }


def chunk_figures(recording: Recording) -> dict[str, Any]:
    """How many ticks after its arrival a chunk was first followed; 1: at the next tick."""
    ticks, counts = np.unique(np.asarray(recording.chunk_ticks, np.int64), return_counts=True)
    return {
        "arrived": recording.chunks,
        "followed": len(recording.chunk_ticks),
        "counts": {str(t): int(n) for t, n in zip(ticks, counts, strict=True)},
        "max": int(ticks.max()) if len(ticks) else None,
    }


def profile_figures(recording: Recording) -> dict[str, dict[str, dict[str, float]]]:
    """By "tick" or "chunk", then by what was timed: its calls and its time in each of them [us]."""
    return {
        group: {
            name: {"calls": len(times), **figures(times, 1e3)}
            for name, times in sorted(by_name.items())
        }
        for group, by_name in recording.profile.items()
    }
