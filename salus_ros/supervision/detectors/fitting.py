"""Models and thresholds from recorded normal data.

Thresholds are conformal quantiles of scores that each row or episode gets from models fitted on the
others (cross-conformal prediction; Vovk, "Cross-conformal predictors", 2015): no row is scored by
a model that has seen it, and none is lost to the fit. The shipped models are fitted on all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.calibration import (
    PER_EPISODE,
    PER_ROW,
    DetectorCalibration,
    Identity,
)
from salus_ros.supervision.detectors.conformal import (
    ROW_SPLIT,
    SEQUENCE_SPLIT,
    conformal_threshold,
    required_samples,
    split_budget,
)
from salus_ros.supervision.detectors.errors import DetectorError
from salus_ros.supervision.detectors.models import (
    ROW_DETECTORS,
    SEQUENCE_DETECTORS,
    fit_models,
    fit_row_models,
)
from salus_ros.supervision.detectors.rows import Block, BoolArray, Episode, check_episodes
from salus_ros.supervision.detectors.whitening import fit_whitening

BUDGET = 0.01
# Thresholds per episode are raised by this: the budget then holds on average over calibration
# sets with room to spare, at little cost, for faults are far beyond (docs/detectors.md).
MARGIN = 1.25
FOLDS = 5
# One deviation from the mean, or one reach, is never odd, however even the calibration's data are.
LEAST_THRESHOLD = 1.0


@dataclass(frozen=True, slots=True)
class Budget:
    """False positives allowed.

    total: share of normal rows or episodes with any alarm. split: each detector's part of it.
    margin: factor on the conformal thresholds, >= 1.
    """

    total: float
    split: Mapping[str, float]
    margin: float = 1.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.margin <= 100.0:
            raise DetectorError(f"margin is {self.margin:g}: give a factor from 1 to 100")
        split_budget(self.total, self.split)

    def shares(self) -> dict[str, float]:
        """False-positive share of each detector."""
        return split_budget(self.total, self.split)


EPISODE_BUDGET = Budget(BUDGET, SEQUENCE_SPLIT, MARGIN)
ROW_BUDGET = Budget(BUDGET, ROW_SPLIT)


def episode_budget(total: float) -> Budget:
    """The usual split and margin of another total, a number in (0, 1)."""
    return Budget(total, SEQUENCE_SPLIT, MARGIN)


def smallest_budget(episodes: int) -> float:
    """The least total that so many episodes can hold with the usual split, 1 % at least."""
    return max(BUDGET, 1 / (min(SEQUENCE_SPLIT.values()) * (episodes + 1)))


def check_count(budget: Budget, episodes: int) -> None:
    """Raise DetectorError, naming both numbers, where so few episodes can't hold the budget."""
    _enough(budget, SEQUENCE_DETECTORS, dict.fromkeys(SEQUENCE_DETECTORS, episodes))


def calibrate_episodes(
    episodes: Sequence[Episode],
    ranges: FloatArray,
    identity: Identity,
    budget: Budget = EPISODE_BUDGET,
    seed: int = 0,
) -> DetectorCalibration:
    """All detectors, per episode: the budget is the share of normal episodes with any alarm.

    ranges [dims]: span of each dimension, > 0. Raises DetectorError for data that don't fit or
    are too few, naming both numbers.
    """
    ranges = _checked_ranges(ranges, identity)
    check_episodes(episodes, ranges)
    check_count(budget, len(episodes))
    blocks = [episode.block() for episode in episodes]
    scores = _held_out_maxima(blocks, ranges, seed)
    thresholds = {
        name: _threshold(budget, name, scores[:, column])
        for column, name in enumerate(SEQUENCE_DETECTORS)
    }
    return DetectorCalibration(
        identity=identity,
        mode=PER_EPISODE,
        budget=budget.total,
        split=dict(budget.split),
        margin=budget.margin,
        thresholds=thresholds,
        samples=dict.fromkeys(SEQUENCE_DETECTORS, len(episodes)),
        data_sha256=fingerprint([a for block in blocks for a in (block.actions, block.stuck)]),
        models=fit_models(blocks, ranges),
    )


def calibrate_pairs(
    actions: FloatArray,
    pairs: tuple[FloatArray, FloatArray],
    ranges: FloatArray,
    identity: Identity,
    budget: Budget = ROW_BUDGET,
    seed: int = 0,
) -> DetectorCalibration:
    """Row detectors, per row: the budget is the share of normal rows with any alarm.

    actions [n, dims]: normal, in any order. pairs: previous and action, each [m, dims], true
    successive rows. Not for sequences: 1 % of rows is every episode of a hundred rows.
    """
    ranges = _checked_ranges(ranges, identity)
    steps = _checked_steps(actions, pairs, ranges)
    counts = {"action_drift": len(actions), "step_drift": len(steps)}
    _enough(budget, ROW_DETECTORS, counts)
    thresholds = {}
    for name, rows in zip(ROW_DETECTORS, (actions, steps), strict=True):
        thresholds[name] = _threshold(budget, name, _held_out_distances(rows, ranges, seed))
    return DetectorCalibration(
        identity=identity,
        mode=PER_ROW,
        budget=budget.total,
        split=dict(budget.split),
        margin=budget.margin,
        thresholds=thresholds,
        samples=counts,
        data_sha256=fingerprint([actions, *pairs]),
        models=fit_row_models(actions, steps, ranges),
    )


def fingerprint(
    arrays: Sequence[FloatArray | BoolArray],
) -> str:
    """SHA-256 of the arrays' shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def folds_of(count: int, seed: int, folds: int = FOLDS) -> list[NDArray[np.int64]]:
    """Indices 0 ... count - 1 shuffled into folds that are as even as they can be."""
    order = np.random.default_rng(seed).permutation(count)
    return [np.sort(part) for part in np.array_split(order, min(folds, count))]


def _held_out_maxima(blocks: Sequence[Block], ranges: FloatArray, seed: int) -> FloatArray:
    """Largest score [episodes, detectors], by models fitted on the other folds."""
    found = np.empty((len(blocks), len(SEQUENCE_DETECTORS)))
    for part in folds_of(len(blocks), seed):
        held_out = set(part.tolist())
        models = fit_models([b for i, b in enumerate(blocks) if i not in held_out], ranges)
        for i in part.tolist():
            found[i] = models.score_episode(blocks[i]).max(axis=0)
    return found


def _held_out_distances(rows: FloatArray, ranges: FloatArray, seed: int) -> FloatArray:
    found = np.empty(len(rows))
    for part in folds_of(len(rows), seed):
        others = np.delete(rows, part, axis=0)
        found[part] = fit_whitening(others, ranges).distance(rows[part])
    return found


def _threshold(budget: Budget, name: str, scores: FloatArray) -> float:
    """Conformal threshold of one detector with the margin; scores [n] of normal data."""
    threshold = conformal_threshold(scores, budget.shares()[name], name)
    return budget.margin * max(threshold, LEAST_THRESHOLD)


def _enough(budget: Budget, names: Sequence[str], counts: Mapping[str, int]) -> None:
    """Refuse too few samples before anything long is begun."""
    shares = budget.shares()
    if set(shares) != set(names):
        raise DetectorError(
            f"the budget is split over {sorted(shares)}: needed are {sorted(names)}"
        )
    for name in names:
        needed = required_samples(shares[name])
        if counts[name] < needed:
            raise DetectorError(
                f"{name}: a false-positive share of {shares[name]:g} needs at least {needed} "
                f"calibration samples, {counts[name]} are given: record more or raise the budget"
            )


def _checked_ranges(ranges: FloatArray, identity: Identity) -> FloatArray:
    ranges = np.asarray(ranges, dtype=np.float64)
    if ranges.shape != (len(identity.names),):
        raise DetectorError(f"ranges have shape {ranges.shape}, names are {len(identity.names)}")
    if not (np.isfinite(ranges).all() and (ranges > 0).all()):
        raise DetectorError(f"ranges are {ranges.tolist()}: each must be finite and above 0")
    return ranges


def _checked_steps(
    actions: FloatArray, pairs: tuple[FloatArray, FloatArray], ranges: FloatArray
) -> FloatArray:
    shapes = [np.shape(array) for array in (actions, *pairs)]
    if any(len(shape) != 2 or shape[1] != len(ranges) for shape in shapes):
        raise DetectorError(f"arrays have shapes {shapes}: expected [n, {len(ranges)}] each")
    if shapes[1] != shapes[2]:
        raise DetectorError(f"previous actions {shapes[1]} and actions {shapes[2]} are no pairs")
    if not all(np.isfinite(array).all() for array in (actions, *pairs)):
        raise DetectorError("calibration rows that are not finite: leave them out")
    return np.asarray(pairs[1], np.float64) - np.asarray(pairs[0], np.float64)
