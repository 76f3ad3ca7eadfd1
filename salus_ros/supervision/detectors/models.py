"""The detectors of one calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.action_drift import ActionDrift, fit_action_drift
from salus_ros.supervision.detectors.frozen import Frozen, fit_frozen
from salus_ros.supervision.detectors.oscillation import Oscillation, fit_oscillation
from salus_ros.supervision.detectors.plan_revision import PlanRevision, fit_plan_revision
from salus_ros.supervision.detectors.rows import Block
from salus_ros.supervision.detectors.slow_drift import SlowDrift, fit_slow_drift
from salus_ros.supervision.detectors.step_drift import StepDrift, fit_step_drift

ROW_DETECTORS = ("action_drift", "step_drift")
SEQUENCE_DETECTORS = (*ROW_DETECTORS, "slow_drift", "frozen", "oscillation", "plan_revision")


class Detector(Protocol):
    """One of them."""

    def score(self, block: Block) -> FloatArray:
        """Scores [n] of an episode's rows."""


@dataclass(frozen=True, slots=True, eq=False)
class SequenceModels:
    """The detectors that judge a row by the ones before it, or by the plan before."""

    slow_drift: SlowDrift
    frozen: Frozen
    oscillation: Oscillation
    plan_revision: PlanRevision


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """sequence None: calibrated on rows that are in no order."""

    action_drift: ActionDrift
    step_drift: StepDrift
    sequence: SequenceModels | None

    @property
    def names(self) -> tuple[str, ...]:
        """Detectors in the order of the columns of `score_episode`."""
        return ROW_DETECTORS if self.sequence is None else SEQUENCE_DETECTORS

    def score_episode(self, block: Block) -> FloatArray:
        """Scores [n, detectors] of the rows of a whole episode; `RowScores`: one by one."""
        detectors: list[Detector] = [self.action_drift, self.step_drift]
        if self.sequence is not None:
            sequence = self.sequence
            detectors += [sequence.slow_drift, sequence.frozen, sequence.oscillation]
            detectors.append(sequence.plan_revision)
        return np.stack([detector.score(block) for detector in detectors], axis=1)


def fit_models(episodes: Sequence[Block], ranges: FloatArray) -> Models:
    """All detectors from normal episodes; ranges [dims]."""
    actions = np.concatenate([block.actions for block in episodes])
    # The first row of an episode is no step.
    steps = np.concatenate([block.steps[1:] for block in episodes])
    action_drift = fit_action_drift(actions, ranges)
    sequence = SequenceModels(
        fit_slow_drift(action_drift.whitening, episodes),
        fit_frozen(episodes, ranges),
        fit_oscillation(episodes, ranges),
        fit_plan_revision(episodes, ranges),
    )
    return Models(action_drift, fit_step_drift(steps, ranges), sequence)


def fit_row_models(actions: FloatArray, steps: FloatArray, ranges: FloatArray) -> Models:
    """Row detectors from normal actions [n, dims] and true steps [m, dims], in any order."""
    return Models(fit_action_drift(actions, ranges), fit_step_drift(steps, ranges), None)
