"""The supervisor's detectors, evaluated: labelled rows, and sequences of the simulated arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from salus_ros.bench import supervisor_droid as droid
from salus_ros.bench.supervisor_episodes import panda_identity, panda_ranges, record_lockstep
from salus_ros.bench.supervisor_faults import inject
from salus_ros.bench.supervisor_sequences import evaluate_sequences, scores_over_thresholds
from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors import DetectorCalibration, Episode, calibrate_episodes
from salus_ros.supervision.detectors.fitting import EPISODE_BUDGET, ROW_BUDGET, Budget

# As many as a share of an eighth of 1 % needs, and one.
CALIBRATION_EPISODES = 800
JOINTS = 7


def row_study(file: Path, seed: int = 0) -> dict[str, Any]:
    """Figures of labelled rows, with `curve` and `roc`. DetectorError for a file that won't do."""
    rows = droid.load_rows(file)
    found = droid.cross_validate(rows, seed=seed)
    return {
        **droid.summary(found),
        "curve": droid.curve(found),
        "roc": droid.roc_curves(found),
        "rows": {
            "calibration_actions": len(rows.calibration),
            "scored": droid.kinds_counted(rows),
            "folds": droid.FOLDS,
            **_described(ROW_BUDGET),
        },
    }


@dataclass(frozen=True, slots=True, eq=False)
class SequenceStudy:
    """figures: see supervisor_sequences. calibration, episodes: what they were found with."""

    figures: dict[str, Any]
    calibration: DetectorCalibration
    episodes: Sequence[Episode]

    def trace(self) -> tuple[FloatArray, int, Sequence[str]]:
        """Scores over thresholds of one episode with a creeping bias, its onset, the names."""
        one = inject("slow_drift", self.episodes[0], JOINTS, np.random.default_rng(0))
        scores = scores_over_thresholds(self.calibration, one.episode)
        return scores, one.onset, self.calibration.models.names


def sequence_study(
    episodes: int, seed: int = 1, on_episode: Callable[[], None] = lambda: None
) -> SequenceStudy:
    """Calibrate on lock-step episodes of one seed, evaluate on `episodes` of the next."""
    known = record_lockstep(CALIBRATION_EPISODES, seed, on_episode)
    calibration = calibrate_episodes(known, panda_ranges(), panda_identity())
    unseen = record_lockstep(episodes, seed + 1, on_episode)
    figures = evaluate_sequences(calibration, unseen, JOINTS, seed)
    figures["episodes"] = {
        "calibration": CALIBRATION_EPISODES,
        "held_out": episodes,
        "seeds": [seed, seed + 1],
        **_described(EPISODE_BUDGET),
    }
    return SequenceStudy(figures, calibration, unseen)


def together(rows: dict[str, Any], sequences: SequenceStudy | None) -> dict[str, Any]:
    """All figures for a file; without a study of sequences those are empty."""
    figures = {"sequences": {}, "intervals": {}} if sequences is None else sequences.figures
    intervals = {**rows["intervals"], "sequences": figures["intervals"]}
    return {"study": "supervisor", **rows, **figures, "intervals": intervals}


def _described(budget: Budget) -> dict[str, Any]:
    return {"budget": budget.total, "split": dict(budget.split), "margin": budget.margin}
