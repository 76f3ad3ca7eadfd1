"""What can be said of any replay, with or without outcomes: limits, latencies, ages, modes."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from salus_ros.interfaces import FloatArray, seconds
from salus_ros.nodes import topics
from salus_ros.replay.differences import observation_ages, percentiles
from salus_ros.replay.event_reader import Malformed
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.replay.settings import Settings
from salus_ros.signals.layout import SIGNAL_NAMES, SIGNALS

# Points of a signal over the time of a recording.
POINTS = 100


@dataclass
class Measures:
    """Values by name, to be pooled over recordings; `modes`: seconds in each."""

    values: dict[str, FloatArray] = field(default_factory=dict)
    modes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: Measures) -> None:
        """Take in those of another recording."""
        for name, values in other.values.items():
            before = self.values.get(name, np.empty(0))
            self.values[name] = np.concatenate((before, values))
        self.modes.update(other.modes)
        self.reasons.update(other.reasons)
        self.seconds += other.seconds

    def to_json(self) -> dict[str, Any]:
        """Percentiles of the values, shares of the modes, interventions by reason."""
        total = sum(self.modes.values())
        return {
            "seconds": round(self.seconds, 6),
            "modes": {name: time / total for name, time in sorted(self.modes.items())},
            "interventions": dict(sorted(self.reasons.items())),
            **{name: percentiles(values) for name, values in sorted(self.values.items())},
        }


def measures(run: RecordedRun, settings: Settings, outputs: Outputs) -> Measures:
    """Of one recording. Latencies and ages in s, uses as shares of the operating limits."""
    found = Measures(seconds=run.duration)
    found.values["policy_latency"] = policy_latencies(run)
    for name, values in _stages(run).items():
        found.values[f"policy_stage.{name}"] = np.array(values)
    if outputs.ticks:
        period = seconds(settings.gate.period)
        for mode in outputs.modes:
            found.modes[mode.name] += period  # type: ignore[assignment]
        found.reasons.update(i.reason for i in outputs.interventions)
        found.values["joint_state_age"] = np.array(outputs.joint_ages)
        ages = observation_ages(run, outputs)
        found.values["observation_age"] = ages[np.isfinite(ages)]
        found.values |= _limit_use(settings, outputs)
    found.values = {name: values for name, values in found.values.items() if values.size}
    return found


def policy_latencies(run: RecordedRun) -> FloatArray:
    """From observation to receipt of each chunk [s]."""
    received = run.of(topics.ACTION_CHUNK)
    return np.array(
        [
            seconds(event.time - run.offset - event.content.chunk.observation_stamp)
            for event in received
            if not isinstance(event.content.chunk, Malformed)
        ]
    )


def _stages(run: RecordedRun) -> dict[str, list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for event in run.of(topics.POLICY_STATE):
        for name, duration in event.content.state.stage_seconds.items():
            found[name].append(duration)
    return found


def _limit_use(settings: Settings, outputs: Outputs) -> dict[str, FloatArray]:
    """Largest share over the joints, of each tick."""
    limits = settings.limits.arm.operating(settings.gate.operating_fraction)
    v = np.array([command.velocities for command in outputs.commands])
    a = np.array([command.accelerations for command in outputs.commands])
    found = {
        "velocity_use": np.abs(v / limits.velocity).max(axis=1),
        "acceleration_use": np.abs(a / limits.acceleration).max(axis=1),
    }
    if len(a) > 1:
        jerk = np.diff(a, axis=0) / seconds(settings.gate.period)
        found["jerk_use"] = np.abs(jerk / limits.jerk).max(axis=1)
    return found


def signals_over_time(outputs: Outputs) -> dict[str, Any] | None:
    """Means of the valid values over POINTS equal parts of the time; None where none is valid."""
    if not outputs.steps:
        return None
    times = np.array([due.step.execution_time for _, due in outputs.steps])
    values = np.array([due.signals.values for _, due in outputs.steps], np.float64)
    bits = np.array([due.signals.valid for _, due in outputs.steps], np.int64)
    valid = (bits[:, None] >> np.arange(SIGNALS)) & 1 == 1
    start, end = int(times[0]), int(times[-1])
    count = min(POINTS, len(times))
    part = np.minimum((times - start) * count // max(end - start, 1), count - 1)
    columns = {}
    for j, name in enumerate(SIGNAL_NAMES):
        sums = np.bincount(part[valid[:, j]], values[valid[:, j], j], minlength=count)
        counts = np.bincount(part[valid[:, j]], minlength=count)
        columns[name] = [
            float(total / n) if n else None for total, n in zip(sums, counts, strict=True)
        ]
    first = outputs.ticks[0] if outputs.ticks else start
    middles = start + (np.arange(count) + 0.5) * (end - start) / count
    return {"times": [round(seconds(int(t) - first), 6) for t in middles], **columns}
