"""step_drift: how far a step, an action minus the one before, is from normal steps."""

from __future__ import annotations

from dataclasses import dataclass

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.rows import Block
from salus_ros.supervision.detectors.whitening import Whitening, fit_whitening


@dataclass(frozen=True, slots=True, eq=False)
class StepDrift:
    """Mahalanobis distance of a step."""

    whitening: Whitening

    def score(self, block: Block) -> FloatArray:
        """Distance [n] of the step to each row."""
        return self.whitening.distance(block.steps)


def fit_step_drift(steps: FloatArray, ranges: FloatArray) -> StepDrift:
    """From true steps [n, dims]: differences of shuffled rows are none; ranges [dims]."""
    return StepDrift(fit_whitening(steps, ranges))
