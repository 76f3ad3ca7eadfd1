"""Detectors on labelled faults in real actions (the DROID evaluation set's form of arrays).

Each normal pair is scored by models and thresholds that were set on the other folds' pairs; a
fault is scored by each fold's models, and compared with normal pairs only within a fold, since
scores of different models don't compare. Non-finite rows and rows outside the limits are what the
gate's checks 2 and 4 catch; they score infinity here, on normal rows, too.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_ros.bench import supervisor_statistics as statistics
from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors import DetectorCalibration, DetectorError, calibrate_pairs
from salus_ros.supervision.detectors.calibration import Identity
from salus_ros.supervision.detectors.fitting import ROW_BUDGET, Budget, folds_of
from salus_ros.supervision.detectors.models import ROW_DETECTORS

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

KINDS = ("normal", "nonfinite", "out_of_bounds", "drift", "jerk")
FAULTS = KINDS[1:]
FOLDS = 10
# Factors on the thresholds, for the curve of detection over false positives.
FACTORS = np.geomspace(0.05, 5, 60)
SHOWN_FALSE_POSITIVES = 0.1
# The set's authors clip to 32-bit limits: a value this far out is rounding.
LIMIT_TOLERANCE = 1e-6
_ARRAYS = ("calib_actions", "action_low", "action_high", "eval_action", "eval_prev", "eval_ftype")


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """calibration [n, dims]: normal actions in any order. low, high [dims]: limits.

    previous, actions [m, dims]: an action and the one before it. kinds [m]: index into KINDS.
    """

    calibration: FloatArray
    low: FloatArray
    high: FloatArray
    previous: FloatArray
    actions: FloatArray
    kinds: Indices

    @property
    def ranges(self) -> FloatArray:
        """Span of each dimension."""
        return self.high - self.low

    @property
    def identity(self) -> Identity:
        """Whom the rows are of, as far as the arrays tell: DROID's arm at its 15 Hz."""
        names = tuple(f"action_{k}" for k in range(len(self.low)))
        return Identity("droid", names, 15.0)


def load_rows(path: Path) -> LabelledRows:
    """Arrays of a file. DetectorError, one line, where it isn't of this form."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _ARRAYS}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        line = " ".join(str(error).split())
        raise DetectorError(f"{path} has not the arrays {', '.join(_ARRAYS)}: {line}") from None
    try:
        floats = {name: np.asarray(arrays[name], np.float64) for name in _ARRAYS[:-1]}
        kinds = np.asarray(arrays["eval_ftype"]).astype(np.int64)
    except (TypeError, ValueError) as error:
        raise DetectorError(f"{path}: arrays that hold no numbers: {error}") from None
    rows = LabelledRows(
        calibration=floats["calib_actions"],
        low=floats["action_low"],
        high=floats["action_high"],
        previous=floats["eval_prev"],
        actions=floats["eval_action"],
        kinds=kinds,
    )
    _check(path, rows)
    return rows


def _check(path: Path, rows: LabelledRows) -> None:
    dims = rows.low.shape
    shapes = {
        "action_high": rows.high.shape == dims,
        "calib_actions": rows.calibration.ndim == 2 and rows.calibration.shape[1:] == dims,
        "eval_action": rows.actions.ndim == 2 and rows.actions.shape[1:] == dims,
        "eval_prev": rows.previous.shape == rows.actions.shape,
        "eval_ftype": rows.kinds.shape == rows.actions.shape[:1],
    }
    wrong = [name for name, fits in shapes.items() if not fits]
    if len(dims) != 1 or wrong:
        raise DetectorError(f"{path}: {', '.join(wrong) or 'action_low'}: the shapes don't fit")
    if not np.isin(rows.kinds, range(len(KINDS))).all():
        raise DetectorError(f"{path}: eval_ftype holds {np.unique(rows.kinds).tolist()}: 0 to 4")
    missing = [kind for index, kind in enumerate(KINDS) if not (rows.kinds == index).any()]
    if missing:
        raise DetectorError(f"{path}: no rows of {', '.join(missing)}: all kinds are needed")
    if not np.isfinite(rows.previous).all():
        raise DetectorError(f"{path}: eval_prev is not finite: leave those rows out")


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidated:
    """Scores over their thresholds, by detector; infinity where checks 2 or 4 catch the row.

    normal [n, detectors]: each by the fold that didn't see it; fold [n]: which one that was.
    faults [folds, f, detectors]; kinds [f]. hard_normal [n], hard_faults [f]: checks 2 and 4.
    """

    normal: FloatArray
    fold: Indices
    faults: FloatArray
    kinds: Indices
    hard_normal: Flags
    hard_faults: Flags

    def together(self) -> tuple[FloatArray, FloatArray]:
        """Largest score [n] of the normal rows and [folds, f] of the faults, hard ones infinite."""
        normal = np.where(self.hard_normal, np.inf, self.normal.max(axis=1))
        return normal, np.where(self.hard_faults, np.inf, self.faults.max(axis=2))


def cross_validate(
    rows: LabelledRows, budget: Budget = ROW_BUDGET, folds: int = FOLDS, seed: int = 0
) -> CrossValidated:
    """Score every row by models and thresholds set on others. DetectorError for too few rows."""
    normal = np.flatnonzero(rows.kinds == 0)
    faulty = np.flatnonzero(rows.kinds > 0)
    calibration = _unseen(rows)
    scores = np.empty((len(normal), len(ROW_DETECTORS)))
    fold_of = np.empty(len(normal), np.int64)
    faults = []
    for number, part in enumerate(folds_of(len(normal), seed, folds)):
        others = np.delete(normal, part)
        pairs = rows.previous[others], rows.actions[others]
        fitted = calibrate_pairs(calibration, pairs, rows.ranges, rows.identity, budget, seed)
        scores[part] = _scores(fitted, rows, normal[part])
        fold_of[part] = number
        faults.append(_scores(fitted, rows, faulty))
    return CrossValidated(
        scores,
        fold_of,
        np.stack(faults),
        rows.kinds[faulty],
        _hard(rows, normal),
        _hard(rows, faulty),
    )


def _unseen(rows: LabelledRows) -> FloatArray:
    """Calibration actions without those that are scored."""
    scored = {row.tobytes() for row in rows.actions + 0.0}
    kept = [row.tobytes() not in scored for row in rows.calibration + 0.0]
    return np.asarray(rows.calibration[np.array(kept)])


def _scores(fitted: DetectorCalibration, rows: LabelledRows, which: Indices) -> FloatArray:
    """Scores over thresholds [n, detectors]."""
    actions, steps = rows.actions[which], rows.actions[which] - rows.previous[which]
    with np.errstate(invalid="ignore", over="ignore"):
        place = fitted.models.action_drift.whitening.distance(actions)
        step = fitted.models.step_drift.whitening.distance(steps)
    thresholds = [fitted.thresholds[name] for name in ROW_DETECTORS]
    found = np.stack([place, step], axis=1) / thresholds
    return np.asarray(np.where(np.isfinite(found), found, np.inf))


def _hard(rows: LabelledRows, which: Indices) -> Flags:
    actions = rows.actions[which]
    inside = (actions >= rows.low - LIMIT_TOLERANCE) & (actions <= rows.high + LIMIT_TOLERANCE)
    return np.asarray(~inside.all(axis=1))


def summary(found: CrossValidated) -> dict[str, Any]:
    """`auc`, `detection_rate` by fault, `false_positive_rate`, `all_faults`, with `intervals`."""
    normal, faults = found.together()
    false = int((normal > 1).sum())
    result: dict[str, Any] = {"auc": {}, "detection_rate": {}, "intervals": {}}
    intervals: dict[str, Any] = {"auc": {}, "detection_rate": {}}
    for kind in FAULTS:
        chosen = faults[:, found.kinds == KINDS.index(kind)]
        won = _won(chosen, normal, found.fold)
        result["auc"][kind], intervals["auc"][kind] = _area(won)
        result["detection_rate"][kind], intervals["detection_rate"][kind] = _detected(chosen)
    result["detection_rate_all"], intervals["detection_rate_all"] = _detected(faults)
    result["false_positive_rate"] = false / len(normal)
    intervals["false_positive_rate"] = statistics.rate_interval(false, len(normal))
    result["false_positives"] = {"alarms": false, "of": len(normal)}
    result["by_detector"] = {
        name: _alone(found, column) for column, name in enumerate(ROW_DETECTORS)
    }
    result["intervals"] = intervals
    return result


def _alone(found: CrossValidated, column: int) -> dict[str, Any]:
    """What one detector finds without the others, at its own share of the budget."""
    normal, faults = found.normal[:, column], found.faults[:, :, column]
    false = int((normal > 1).sum())
    result: dict[str, Any] = {
        "false_positive_rate": false / len(normal),
        "false_positive_rate_interval": statistics.rate_interval(false, len(normal)),
    }
    for kind in ("drift", "jerk"):
        chosen = faults[:, found.kinds == KINDS.index(kind)]
        area, area_interval = _area(_won(chosen, normal, found.fold))
        rate, rate_interval = _detected(chosen)
        result[kind] = {
            "auc": area,
            "auc_interval": area_interval,
            "detection_rate": rate,
            "detection_rate_interval": rate_interval,
        }
    return result


def _won(faults: FloatArray, normal: FloatArray, fold: Indices) -> FloatArray:
    """[f, n]: fault above normal row, both scored by the model that hadn't seen the normal row."""
    return statistics.wins(faults[fold].T, normal)


def _area(won: FloatArray) -> tuple[float, statistics.Interval]:
    return statistics.auc(won), statistics.auc_interval(won)


def _detected(faults: FloatArray) -> tuple[float, statistics.Interval]:
    """Share of faults [folds, f] found, averaged over the folds' thresholds."""
    rate = float((faults > 1).mean())
    count = faults.shape[1]
    return rate, statistics.rate_interval(round(rate * count), count)


def curve(found: CrossValidated) -> dict[str, list[float]]:
    """Detection by fault, and false positives, over common factors on all thresholds."""
    normal, faults = found.together()
    result = {
        "factor": [float(factor) for factor in FACTORS],
        "false_positive_rate": [float((normal > factor).mean()) for factor in FACTORS],
    }
    for kind in FAULTS:
        chosen = faults[:, found.kinds == KINDS.index(kind)]
        result[kind] = [float((chosen > factor).mean()) for factor in FACTORS]
    return result


def roc_curves(found: CrossValidated) -> dict[str, dict[str, list[float]]]:
    """ROC by fault up to 10 % false positives, all checks together, by factors on thresholds."""
    normal, faults = found.together()
    curves = {}
    for kind in FAULTS:
        chosen = faults[:, found.kinds == KINDS.index(kind)].ravel()
        false, hit = statistics.roc(chosen, normal)
        shown = sum(rate <= SHOWN_FALSE_POSITIVES for rate in false)
        curves[kind] = {"false_positive_rate": false[:shown], "detection_rate": hit[:shown]}
    return curves


def kinds_counted(rows: LabelledRows) -> dict[str, int]:
    """Rows of each kind."""
    return {kind: int((rows.kinds == index).sum()) for index, kind in enumerate(KINDS)}
