"""How long the next inference will take, judged from the recent ones."""

from __future__ import annotations

import math
from collections import deque

from salus_ros.interfaces import nanoseconds


class LatencyEstimator:
    """95th percentile over a sliding window of latencies.

    The first `warmup` measurements are left out: they hold allocation and compilation. A window
    of bounded length lets an old maximum age out.
    """

    def __init__(
        self,
        window: int = 50,
        percentile: float = 95.0,
        warmup: int = 1,
        initial_seconds: float = 0.1,
    ) -> None:
        """window: measurements kept; initial_seconds: the estimate before any is counted [s]."""
        if window < 1 or warmup < 0 or not 0.0 < percentile <= 100.0:
            raise ValueError(
                f"latency window {window}, warm-up {warmup}, percentile {percentile}: "
                "give a window of at least 1, a warm-up of at least 0 and a percentile in (0, 100]"
            )
        self._recent: deque[int] = deque(maxlen=window)
        self._percentile = percentile
        self._initial = nanoseconds(initial_seconds)
        self._to_skip = warmup

    def add(self, latency: int) -> None:
        """Count one inference that took `latency` [ns]. Negative counts as 0."""
        if self._to_skip > 0:
            self._to_skip -= 1
            return
        self._recent.append(max(0, latency))

    @property
    def measured(self) -> bool:
        """True once a measurement counts; the estimate is a guess before."""
        return bool(self._recent)

    def estimate(self) -> int:
        """The percentile [ns], by nearest rank: a latency that really occurred, never less."""
        if not self._recent:
            return self._initial
        ordered = sorted(self._recent)
        return ordered[math.ceil(self._percentile / 100.0 * len(ordered)) - 1]
