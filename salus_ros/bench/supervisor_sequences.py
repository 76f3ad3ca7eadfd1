"""Faults in episodes that the calibration never saw: found or not, how soon, and false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from salus_ros.bench import supervisor_statistics as statistics
from salus_ros.bench.supervisor_faults import FAULT_NAMES, Faulty, inject
from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors import DetectorCalibration, Episode


def evaluate_sequences(
    calibration: DetectorCalibration, episodes: Sequence[Episode], joints: int, seed: int = 0
) -> dict[str, Any]:
    """`sequences` and their `intervals` by fault, and `sequence_false_positives`.

    episodes: normal ones that the calibration has not seen. joints: columns that faults go into.
    A fault is found at the first alarm from its onset on. Its false-positive rate is the share of
    episodes with an alarm before the onset, or anywhere in the same episode without the fault.
    """
    clean = [bool(_alarms(calibration, e).any()) for e in episodes]
    false = sum(clean)
    result: dict[str, Any] = {
        "sequences": {},
        "intervals": {},
        "sequence_false_positives": {
            "episodes_with_alarm": false,
            "of": len(episodes),
            "rate": false / len(episodes),
            "interval": statistics.rate_interval(false, len(episodes)),
        },
    }
    for index, name in enumerate(FAULT_NAMES):
        rng = np.random.default_rng([seed, index])
        faulty = [inject(name, episode, joints, rng) for episode in episodes]
        found = [_first_alarms(calibration, one) for one in faulty]
        row, interval = _row(found, clean, calibration.models.names)
        result["sequences"][name], result["intervals"][name] = row, interval
    return result


def scores_over_thresholds(calibration: DetectorCalibration, episode: Episode) -> FloatArray:
    """Each row's scores over their thresholds [n, detectors]."""
    names = calibration.models.names
    thresholds = np.array([calibration.thresholds[name] for name in names])
    return np.asarray(calibration.models.score_episode(episode.block()) / thresholds)


def _alarms(
    calibration: DetectorCalibration, episode: Episode
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return scores_over_thresholds(calibration, episode) > 1


def _first_alarms(calibration: DetectorCalibration, one: Faulty) -> tuple[bool, list[int | None]]:
    """Whether there was an alarm before the onset; rows from there to each detector's first."""
    alarms = _alarms(calibration, one.episode)
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
        "delay_steps_p95": float(np.quantile(delays, 0.95)) if delays else None,
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
