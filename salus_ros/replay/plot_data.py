"""What the page shows of a bag: numbers over time, thinned out, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salus_ros.interfaces import FloatArray, seconds
from salus_ros.replay.differences import observation_ages
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.replay.settings import Settings
from salus_ros.replay.thumbnails import Thumbnail, thumbnails
from salus_ros.replay.topic_map import TopicMap
from salus_ros.signals.layout import SIGNAL_NAMES
from salus_ros.supervision.modes import Mode

POINTS = 2000

Line = tuple[list[float], list[float | None]]


@dataclass(frozen=True)
class PlotData:
    """Panels by title, each with lines by name over the time [s] since the first tick.

    moments: time and reason of interventions. pictures: at these.
    """

    bag: str
    panels: dict[str, dict[str, Line]]
    moments: list[tuple[float, str]]
    pictures: list[Thumbnail]


def plot_data(
    run: RecordedRun, settings: Settings, outputs: Outputs, topic_map: TopicMap
) -> PlotData:
    """All of it. Raises BagError where the images can't be read."""
    first = outputs.ticks[0] if outputs.ticks else run.events[0].time - run.offset
    acts = [(record.stamp.ros, record.reason) for record in outputs.interventions]
    return PlotData(
        bag=str(run.bag),
        panels={
            "mode": {"mode": _line(outputs.ticks, [int(m) for m in outputs.modes], first)},
            "distance from the recorded command [rad]": _apart(run, outputs, first),
            "share of the operating limits": _use(settings, outputs, first),
            "age [s]": _ages(run, outputs, first),
            "failure": _failure(outputs, first),
            "signals": _signals(outputs, first),
        },
        moments=[(round(seconds(time - first), 4), reason) for time, reason in acts],
        pictures=thumbnails(run, acts, first, topic_map),
    )


def _line(times: Sequence[int], values: Any, first: int) -> Line:
    stride = max(1, -(-len(times) // POINTS))
    numbers = np.asarray(values, np.float64)[::stride]
    return (
        [round(seconds(time - first), 4) for time in times[::stride]],
        [round(v, 6) if np.isfinite(v) else None for v in numbers.tolist()],
    )


def _apart(run: RecordedRun, outputs: Outputs, first: int) -> dict[str, Line]:
    unknown = np.full(len(run.joint_names), np.nan)
    rows = [
        unknown if theirs is None else mine.positions - theirs.positions
        for mine, theirs in zip(outputs.commands, outputs.recorded, strict=True)
    ]
    if not rows:
        return {}
    table = np.array(rows)
    return {n: _line(outputs.ticks, table[:, j], first) for j, n in enumerate(run.joint_names)}


def _use(settings: Settings, outputs: Outputs, first: int) -> dict[str, Line]:
    if not outputs.commands:
        return {}
    limits = settings.limits.arm.operating(settings.gate.operating_fraction)
    columns: dict[str, tuple[str, Sequence[float]]] = {
        "velocity": ("velocities", limits.velocity),
        "acceleration": ("accelerations", limits.acceleration),
    }
    found = {}
    for name, (attribute, most) in columns.items():
        used: FloatArray = np.array([getattr(c, attribute) for c in outputs.commands])
        found[name] = _line(outputs.ticks, np.abs(used / most).max(axis=1), first)
    return found


def _ages(run: RecordedRun, outputs: Outputs, first: int) -> dict[str, Line]:
    if not outputs.ticks:
        return {}
    return {
        "observation": _line(outputs.ticks, observation_ages(run, outputs), first),
        "joint state": _line(outputs.ticks, outputs.joint_ages, first),
    }


def _failure(outputs: Outputs, first: int) -> dict[str, Line]:
    said = [(time, p) for time, p in outputs.predictions if p.valid]
    times = [time for time, _ in said]
    if not said:
        return {}
    return {
        "episode fails": _line(times, [p.episode_failure_probability for _, p in said], first),
        "score": _line(times, [p.episode_score for _, p in said], first),
        "alarm": _line(times, [float(p.alarm) for _, p in said], first),
    }


def _signals(outputs: Outputs, first: int) -> dict[str, Line]:
    if not outputs.steps:
        return {}
    times = [due.step.execution_time for _, due in outputs.steps]
    values = np.array([due.signals.values for _, due in outputs.steps], np.float64)
    bits = np.array([due.signals.valid for _, due in outputs.steps], np.int64)
    found = {}
    for j, name in enumerate(SIGNAL_NAMES):
        known = (bits >> j) & 1 == 1
        if known.any():
            found[name] = _line(times, np.where(known, values[:, j], np.nan), first)
    return found


MODE_NAMES = {int(mode): mode.name for mode in Mode}
