"""The detectors of one calibration, and what they carry from row to row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.action_drift import ActionDrift, fit_action_drift
from salus_ros.supervision.detectors.frozen import Frozen, FrozenState, fit_frozen
from salus_ros.supervision.detectors.oscillation import Oscillation, fit_oscillation
from salus_ros.supervision.detectors.plan_revision import PlanRevision, fit_plan_revision
from salus_ros.supervision.detectors.rows import Block
from salus_ros.supervision.detectors.slow_drift import SlowDrift, fit_slow_drift
from salus_ros.supervision.detectors.step_drift import StepDrift, fit_step_drift

ROW_DETECTORS = ("action_drift", "step_drift")
SEQUENCE_DETECTORS = (*ROW_DETECTORS, "slow_drift", "frozen", "oscillation", "plan_revision")


@dataclass(frozen=True, slots=True, eq=False)
class SequenceModels:
    """The detectors that judge a row by the ones before it, or by the plan before."""

    slow_drift: SlowDrift
    frozen: Frozen
    oscillation: Oscillation
    plan_revision: PlanRevision


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """What the sequence detectors know of the rows before."""

    slow_drift: FloatArray
    frozen: FrozenState
    oscillation: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """sequence None: calibrated on rows that are in no order."""

    action_drift: ActionDrift
    step_drift: StepDrift
    sequence: SequenceModels | None

    @property
    def names(self) -> tuple[str, ...]:
        """Detectors in the order of the columns of `score`."""
        return ROW_DETECTORS if self.sequence is None else SEQUENCE_DETECTORS

    def fresh(self) -> Carried | None:
        """What is carried into an episode's first row."""
        models = self.sequence
        if models is None:
            return None
        return Carried(models.slow_drift.fresh(), models.frozen.fresh(), models.oscillation.fresh())

    def score(self, block: Block, before: Carried | None) -> tuple[FloatArray, Carried | None]:
        """Scores [n, detectors] of each row, and what to carry on.

        Scoring rows in one block or in several gives the same.
        """
        columns = [self.action_drift.score(block), self.step_drift.score(block)]
        if self.sequence is None or before is None:
            return np.stack(columns, axis=1), None
        slow, sums = self.sequence.slow_drift.score(block, before.slow_drift)
        frozen, repeats = self.sequence.frozen.score(block, before.frozen)
        oscillation, steps = self.sequence.oscillation.score(block, before.oscillation)
        columns += [slow, frozen, oscillation, self.sequence.plan_revision.score(block)]
        return np.stack(columns, axis=1), Carried(sums, repeats, steps)

    def score_episode(self, block: Block) -> FloatArray:
        """Scores [n, detectors] of a whole episode."""
        return self.score(block, self.fresh())[0]


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
