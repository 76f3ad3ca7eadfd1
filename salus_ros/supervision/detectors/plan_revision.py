"""plan_revision: how much a new plan changes what the one before meant to do.

Successive chunks of one policy overlap, and about the rows that both hold they should agree. A
policy whose output is frozen, delayed, scaled, turned round or of exchanged joints from some chunk
on contradicts the chunk before at once, over all of the overlap, though its first row may be where
the last one ended. Agia et al., "Unpacking failure modes of generative policies" (CoRL 2024), find
erratic failures by comparing overlapping chunks, too (STAC, over many samples of each); here one
sample of each is used. A fault that is there from the first chunk on makes all agree: not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.rows import Block

# A policy that never changes its mind may do so by this share of a dimension's range.
LEAST_REACH = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class PlanRevision:
    """reach [dims]: largest disagreement of successive plans in normal episodes."""

    reach: FloatArray

    def score(self, block: Block) -> FloatArray:
        """Largest disagreement over its reach [n]; 0 where no plan takes over."""
        return np.asarray((block.revisions / self.reach).max(axis=1))


def fit_plan_revision(episodes: Sequence[Block], ranges: FloatArray) -> PlanRevision:
    """From normal episodes; ranges [dims]."""
    tops = [block.revisions.max(axis=0) for block in episodes]
    return PlanRevision(np.maximum(np.max(tops, axis=0), LEAST_REACH * ranges))
