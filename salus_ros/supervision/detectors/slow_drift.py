"""slow_drift: a creeping bias that no single row shows, by a cumulative sum.

Page's CUSUM ("Continuous inspection schemes", Biometrika 1954), both ways, on each coordinate of
the whitened action: S = max(0, S + u - allowance). Normal motion dwells away from the mean, too,
so each sum is compared with the largest that the calibration's episodes reach. What creeps along
directions in which normal actions vary much is found late or not at all: that is what the arm does
anyway; across them (a posture that no normal action has) it is found early.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.rows import Block
from salus_ros.supervision.detectors.whitening import Whitening

# What a coordinate may be off without counting, in standard deviations.
ALLOWANCE = 1.0
# A sum that normal episodes never raise counts from here on.
LEAST_REACH = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class SlowDrift:
    """reach [2 dims]: largest sum of normal episodes, upwards then downwards."""

    whitening: Whitening
    reach: FloatArray

    def sums(self, block: Block) -> FloatArray:
        """Sums [n, 2 dims] after each row of an episode."""
        whitened = self.whitening.coordinates(block.actions)
        gains = np.concatenate([whitened, -whitened], axis=1) - ALLOWANCE
        total = np.cumsum(gains, axis=0)
        # The recursion in closed form: a sum starts again where the total was lowest.
        lowest = np.minimum(np.minimum.accumulate(total, axis=0), 0.0)
        sums: FloatArray = total - lowest
        return sums

    def score(self, block: Block) -> FloatArray:
        """Largest sum over its reach [n]."""
        return np.asarray((self.sums(block) / self.reach).max(axis=1))


def fit_slow_drift(whitening: Whitening, episodes: Sequence[Block]) -> SlowDrift:
    """From normal episodes and the whitening of their actions."""
    unscaled = SlowDrift(whitening, np.ones(2 * len(whitening.center)))
    tops = [unscaled.sums(block).max(axis=0) for block in episodes]
    return replace(unscaled, reach=np.maximum(np.max(tops, axis=0), LEAST_REACH))
