"""What a run of the graph is judged by, gathered from its topics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from salus_ros.interfaces import seconds

LATE = 1.5
"""A period longer than this many nominal ones is a missed deadline."""


@dataclass
class ControlStatistics:
    """Periods of the supervisor's output and latencies from observation to command.

    Periods are taken from the times at which the supervisor's process wrote the commands, so that
    the reader's own scheduling does not count. Commands whose trajectory stamps are not one period
    apart (lost on the way here, or a new activation) give no period.
    """

    period_ns: int
    periods: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    interventions: Counter[str] = field(default_factory=Counter)
    _last: tuple[int, int] | None = None
    _last_chunk: tuple[str, int] | None = None

    def on_command(self, stamp: int, written: int) -> None:
        """A command: its trajectory stamp and the time at which it was written [ns]."""
        if self._last is not None and stamp - self._last[0] == self.period_ns:
            self.periods.append(written - self._last[1])
        self._last = (stamp, written)

    def on_plan(self, source_id: str, chunk_number: int, observation_age: float) -> None:
        """The supervisor follows this chunk; the first time, its age is the latency [s]."""
        if source_id and (source_id, chunk_number) != self._last_chunk:
            self.latencies.append(observation_age)
            self._last_chunk = (source_id, chunk_number)

    def on_intervention(self, reason: str) -> None:
        """The supervisor intervened."""
        self.interventions[reason] += 1

    def recent_rate(self, window: int = 100) -> float:
        """Commands per second over the last periods [Hz]; 0 before there are any."""
        recent = self.periods[-window:]
        return len(recent) / seconds(sum(recent)) if recent else 0.0

    def control(self) -> dict[str, float | None]:
        """Rate [Hz], 99th percentile of the period [ms], share of missed deadlines."""
        if not self.periods:
            return {"rate_hz": None, "period_p99_ms": None, "missed_deadline_fraction": None}
        periods = np.array(self.periods)
        return {
            "rate_hz": round(1e9 / float(periods.mean()), 3),
            "period_p99_ms": round(float(np.percentile(periods, 99)) / 1e6, 3),
            "period_max_ms": round(float(periods.max()) / 1e6, 3),
            "missed_deadline_fraction": round(float((periods > LATE * self.period_ns).mean()), 6),
        }

    def latency_ms(self) -> dict[str, float | None]:
        """Median and 99th percentile from observation to the first command of its plan [ms]."""
        if not self.latencies:
            return {"p50": None, "p99": None}
        p50, p99 = np.percentile(self.latencies, [50, 99]) * 1e3
        return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}
