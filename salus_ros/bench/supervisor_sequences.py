"""Faults in episodes that the calibration never saw: found or not, how soon, and false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from salus_ros.bench import supervisor_statistics as statistics
from salus_ros.bench.supervisor_faults import (
    FAULT_NAMES,
    STANDING_FAULTS,
    USUAL,
    Faulty,
    Sizes,
    inject,
)
from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors import DetectorCalibration, Episode

# Sizes that detection is shown over: the usual one among them, smaller and larger ones.
CURVES = {
    "slow_drift": ("creep", (0.1, 1 / 3, 1.0, 2.0)),
    "oscillating": ("amplitude", (0.03, 0.1, 1 / 3, 1.0)),
    "scaled": ("gain", (1.05, 1.1, 1.25, 1.5, 2.0)),
    "delayed": ("delay", (1, 2, 3, 4, 8, 16)),
}


def evaluate_sequences(
    calibration: DetectorCalibration,
    episodes: Sequence[Episode],
    columns: Sequence[int],
    seed: int = 0,
    sizes: Sizes = USUAL,
) -> dict[str, Any]:
    """`sequences` and their `intervals` by fault, `sequence_false_positives`, and more.

    episodes: normal ones that the calibration has not seen. columns: those that faults go into.
    A fault is found at the first alarm from its onset on. Its false-positive rate is the share of
    episodes with an alarm before the onset, or anywhere in the same episode without the fault.
    `from_start`: of faults that are there from the first row on. `by_size`: detection over sizes.
    """
    clean = [alarms_anywhere(calibration, [e]) for e in episodes]
    result: dict[str, Any] = {
        "sequences": {},
        "intervals": {},
        "sequence_false_positives": share_with_alarm(clean),
        "from_start": {},
        "by_size": {},
    }
    study = _Study(calibration, episodes, columns, seed)
    for name in FAULT_NAMES:
        row, interval = _row(study.found(name, sizes), clean, calibration.models.names)
        result["sequences"][name], result["intervals"][name] = row, interval
    for name in STANDING_FAULTS:
        row, _ = _row(study.found(name, sizes, from_start=True), clean, calibration.models.names)
        result["from_start"][name] = row
    for name, (field, values) in CURVES.items():
        result["by_size"][name] = study.by_size(name, field, values, sizes)
    return result


class _Study:
    def __init__(
        self,
        calibration: DetectorCalibration,
        episodes: Sequence[Episode],
        columns: Sequence[int],
        seed: int,
    ) -> None:
        self._calibration = calibration
        self._episodes = episodes
        self._columns = columns
        self._seed = seed

    def found(
        self, name: str, sizes: Sizes, from_start: bool = False
    ) -> list[tuple[bool, list[int | None]]]:
        """For each episode what `first_alarms` says."""
        rng = np.random.default_rng([self._seed, FAULT_NAMES.index(name)])
        faulty = [
            inject(name, episode, self._columns, rng, sizes, from_start)
            for episode in self._episodes
        ]
        return [first_alarms(self._calibration, one) for one in faulty]

    def by_size(
        self, name: str, field: str, values: Sequence[float], sizes: Sizes
    ) -> dict[str, Any]:
        """Sizes and detection rates; lengths are multiples of the usual size's."""
        usual = getattr(sizes, field)
        scale = usual if field in ("creep", "amplitude") else 1.0
        used = [value * scale for value in values]
        rates = []
        for size in used:
            found = self.found(name, replace(sizes, **{field: type(usual)(size)}))
            rates.append(sum(any(f is not None for f in firsts) for _, firsts in found))
        count = len(self._episodes)
        return {
            "size": field,
            "values": used,
            "detection_rate": [hits / count for hits in rates],
            "interval": [statistics.rate_interval(hits, count) for hits in rates],
        }


def scores_over_thresholds(calibration: DetectorCalibration, episode: Episode) -> FloatArray:
    """Each row's scores over their thresholds [n, detectors]."""
    names = calibration.models.names
    thresholds = np.array([calibration.thresholds[name] for name in names])
    return np.asarray(calibration.models.score_episode(episode.block()) / thresholds)


def alarms_anywhere(calibration: DetectorCalibration, parts: Sequence[Episode]) -> bool:
    """Whether a normal episode, in its parts, has an alarm."""
    return any(bool((scores_over_thresholds(calibration, part) > 1).any()) for part in parts)


def share_with_alarm(alarms: Sequence[bool]) -> dict[str, Any]:
    """How many normal episodes have an alarm: a false HOLD each."""
    false = sum(alarms)
    return {
        "episodes_with_alarm": false,
        "of": len(alarms),
        "rate": false / max(len(alarms), 1),
        "interval": statistics.rate_interval(false, len(alarms)),
    }


def first_alarms(calibration: DetectorCalibration, one: Faulty) -> tuple[bool, list[int | None]]:
    """Whether there was an alarm before the onset; rows from there to each detector's first."""
    alarms = scores_over_thresholds(calibration, one.episode) > 1
    after = alarms[one.onset :]
    firsts = [int(column.argmax()) if column.any() else None for column in after.T]
    return bool(alarms[: one.onset].any()), firsts


def _row(
    found: Sequence[tuple[bool, list[int | None]]], clean: Sequence[bool], names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    delays = [min(known) for _, firsts in found if (known := [f for f in firsts if f is not None])]
    false = sum(before or alarm for (before, _), alarm in zip(found, clean, strict=True))
    count = len(found)
    row = {
        "detection_rate": len(delays) / count,
        "delay_steps_p50": float(np.median(delays)) if delays else None,
        "delay_steps_p95": float(np.quantile(delays, 0.95, method="higher")) if delays else None,
        "false_positive_rate": false / count,
        "by_detector": {
            name: sum(firsts[column] is not None for _, firsts in found) / count
            for column, name in enumerate(names)
        },
    }
    interval = {
        "detection_rate": statistics.rate_interval(len(delays), count),
        "delay_steps_p50": statistics.median_interval(np.array(delays, float)) if delays else None,
        "false_positive_rate": statistics.rate_interval(false, count),
    }
    return row, interval
