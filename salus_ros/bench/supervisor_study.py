"""The supervisor's detectors, evaluated: labelled rows, and sequences of the simulated arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from salus_ros.bench import supervisor_droid as droid
from salus_ros.bench.supervisor_bags import RecordedEpisodes
from salus_ros.bench.supervisor_episodes import (
    POLICY,
    ROBOT,
    panda_identity,
    panda_ranges,
    record_lockstep,
)
from salus_ros.bench.supervisor_faults import USUAL, Sizes, inject
from salus_ros.bench.supervisor_lerobot import arm_columns
from salus_ros.bench.supervisor_sequences import (
    alarms_anywhere,
    evaluate_sequences,
    scores_over_thresholds,
    share_with_alarm,
)
from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors import (
    DetectorCalibration,
    DetectorError,
    Episode,
    calibrate_episodes,
)
from salus_ros.supervision.detectors.fitting import (
    ROW_BUDGET,
    Budget,
    episode_budget,
    smallest_budget,
)

# As many as a share of a tenth of 1 % needs, and one.
CALIBRATION_EPISODES = 1000
JOINTS = tuple(range(7))
# Of a recorded data set, this share of the episodes is kept apart from the calibration.
HELD_OUT = 0.25
# Budget of detectors that too few episodes can't hold 1 % with: as small as they can, and no more.
LARGEST_BUDGET = 0.5


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
    """figures: see supervisor_sequences. calibration, episodes: what they were found with.

    columns, sizes: of the faults.
    """

    figures: dict[str, Any]
    calibration: DetectorCalibration
    episodes: Sequence[Episode]
    columns: Sequence[int]
    sizes: Sizes = USUAL

    def trace(self) -> tuple[FloatArray, int, Sequence[str]]:
        """Scores over thresholds of one episode with a creeping bias, its onset, the names."""
        rng = np.random.default_rng(0)
        one = inject("slow_drift", self.episodes[0], self.columns, rng, self.sizes)
        scores = scores_over_thresholds(self.calibration, one.episode)
        return scores, one.onset, self.calibration.models.names


def sequence_study(
    episodes: int,
    seed: int = 1,
    on_episode: Callable[[], None] = lambda: None,
    calibration: DetectorCalibration | None = None,
) -> SequenceStudy:
    """Evaluate on `episodes` normal lock-step episodes of seed + 1.

    calibration: what is judged, made of other episodes; None: one of episodes of `seed`.
    DetectorError, one line, for one of another robot.
    """
    known: dict[str, Any] = {}
    if calibration is None:
        recorded = record_lockstep(CALIBRATION_EPISODES, seed, on_episode)
        calibration = calibrate_episodes(recorded.normal, panda_ranges(), panda_identity())
        known = {"calibration_seed": seed, "left_out_of_calibration": recorded.left_out}
    calibration.require(ROBOT, panda_identity().names)
    unseen = record_lockstep(episodes, seed + 1, on_episode)
    figures = evaluate_sequences(calibration, unseen.normal, JOINTS, seed)
    # What the detectors do where the gate held the arm for a reason of its own.
    parts = [*([e] for e in unseen.normal), *unseen.held]
    alarms = [alarms_anywhere(calibration, part) for part in parts]
    figures["false_positives_of_all_successful"] = share_with_alarm(alarms)
    figures["episodes"] = {
        "source": "lockstep",
        "policy": POLICY,
        "held_out": episodes,
        "held_out_seed": seed + 1,
        "left_out_of_held_out": unseen.left_out,
        "arm_off_plan": sum(any(t.off_plan for t in e.takeovers) for e in unseen.normal),
        **known,
        **_calibrated(calibration, USUAL),
    }
    return SequenceStudy(figures, calibration, unseen.normal, JOINTS)


def dataset_study(recorded: RecordedEpisodes, source: str, seed: int = 1) -> SequenceStudy:
    """Calibrate on most episodes of a recorded set, evaluate on the others.

    The budget is 1 % of normal episodes, or as little as that many episodes can hold. Raises
    DetectorError where they are too few for anything.
    """
    order = np.random.default_rng(seed).permutation(len(recorded.episodes))
    apart = round(HELD_OUT * len(order))
    unseen = [recorded.episodes[i] for i in order[:apart]]
    known = [recorded.episodes[i] for i in order[apart:]]
    budget = smallest_budget(len(known))
    if budget > LARGEST_BUDGET or not unseen:
        raise DetectorError(
            f"{source}: {len(order)} episodes: {len(known)} to calibrate on hold no budget below "
            f"{LARGEST_BUDGET:g}: give a set with more"
        )
    calibration = calibrate_episodes(
        known, recorded.ranges, recorded.identity, episode_budget(budget)
    )
    columns = arm_columns(recorded.identity.names)
    sizes = USUAL.for_steps(_typical_step(known, columns))
    figures = evaluate_sequences(calibration, unseen, columns, seed, sizes)
    figures["episodes"] = {
        "source": source,
        "held_out": len(unseen),
        "seed": seed,
        **_calibrated(calibration, sizes),
    }
    return SequenceStudy(figures, calibration, unseen, columns, sizes)


def _typical_step(episodes: Sequence[Episode], columns: Sequence[int]) -> float:
    """Median over the episodes of the largest step of any dimension of the arm."""
    tops = [float(np.abs(e.block().steps[:, list(columns)]).max()) for e in episodes]
    return float(np.median(tops))


def together(rows: dict[str, Any] | None, sequences: SequenceStudy | None) -> dict[str, Any]:
    """All figures for a file; of a study that wasn't made there are none."""
    labelled = rows or {"auc": {}, "intervals": {}}
    figures = {"sequences": {}, "intervals": {}} if sequences is None else sequences.figures
    intervals = {**labelled["intervals"], "sequences": figures["intervals"]}
    return {"study": "supervisor", **labelled, **figures, "intervals": intervals}


def _described(budget: Budget) -> dict[str, Any]:
    return {"budget": budget.total, "split": dict(budget.split), "margin": budget.margin}


def _calibrated(calibration: DetectorCalibration, sizes: Sizes) -> dict[str, Any]:
    return {"calibration": calibration.describe(), "fault_sizes": asdict(sizes)}
