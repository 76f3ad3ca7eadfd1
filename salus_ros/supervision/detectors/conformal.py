"""Thresholds that hold a false-positive budget, and how the budget is split.

Split conformal prediction: of n + 1 exchangeable scores the newest is above the k-th smallest of
the other n, k = ceil((n + 1)(1 - share)), with probability at most `share`. Source: Vovk, Gammerman
and Shafer, "Algorithmic Learning in a Random World", 2005; Lei et al., "Distribution-free
predictive inference for regression", JASA 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.errors import DetectorError

# Shares of the budget while all six run on sequences, and while only rows can be judged.
SEQUENCE_SPLIT: Mapping[str, float] = MappingProxyType(
    {
        "action_drift": 0.1,
        "step_drift": 0.5,
        "slow_drift": 0.1,
        "frozen": 0.1,
        "oscillation": 0.1,
        "plan_revision": 0.1,
    }
)
ROW_SPLIT: Mapping[str, float] = MappingProxyType({"action_drift": 0.2, "step_drift": 0.8})
# Of the budget, at least this share is step_drift's: it separates faults best.
STEP_DRIFT_LEAST = 0.5
# Rounding of 1 / share must not ask for one more sample.
_ROUNDING = 1e-9


def required_samples(share: float) -> int:
    """Fewest calibration scores [>= 1] that can hold a false-positive share in (0, 1)."""
    if not 0 < share < 1:
        raise DetectorError(f"false-positive share {share:g} is not between 0 and 1: change it")
    return max(1, math.ceil(1 / share - 1 - _ROUNDING))


def conformal_threshold(scores: FloatArray, share: float, what: str = "a detector") -> float:
    """Threshold that a new score is above with probability at most `share`; scores [n].

    Raises DetectorError for too few scores, naming both numbers, and for scores that are not
    finite.
    """
    needed = required_samples(share)
    if scores.ndim != 1 or len(scores) < needed:
        raise DetectorError(
            f"{what}: a false-positive share of {share:g} needs at least {needed} calibration "
            f"samples, {len(scores)} are given: record more or raise the budget"
        )
    if not np.isfinite(scores).all():
        raise DetectorError(f"{what}: calibration scores that are not finite: leave those rows out")
    rank = math.ceil((len(scores) + 1) * (1 - share) - _ROUNDING)
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def split_budget(budget: float, split: Mapping[str, float]) -> dict[str, float]:
    """False-positive share of each detector: its part of the budget, a number in (0, 1).

    Raises DetectorError where the parts don't add up to 1 or step_drift gets less than half.
    """
    if not 0 < budget < 1:
        raise DetectorError(f"false-positive budget {budget:g} is not between 0 and 1: change it")
    _check_split(split.values())
    if split.get("step_drift", 0.0) < STEP_DRIFT_LEAST:
        raise DetectorError(
            f"step_drift gets {split.get('step_drift', 0.0):g} of the budget: give it at least "
            f"{STEP_DRIFT_LEAST:g}"
        )
    return {name: budget * part for name, part in split.items()}


def _check_split(parts: Iterable[float]) -> None:
    values = list(parts)
    if any(not part > 0 for part in values) or abs(sum(values) - 1) > 1e-6:
        raise DetectorError(f"parts of the budget are {values}: each above 0, 1 in all")
