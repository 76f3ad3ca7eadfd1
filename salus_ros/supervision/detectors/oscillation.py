"""oscillation: a joint goes to and fro more than it does in normal motion.

Over the last rows, the way that a dimension went less the way that it got: 0 where it keeps its
direction, whatever its speed; each reversal adds twice the way back. Smooth and noisy policies
differ here by orders of magnitude, so each dimension is compared with the calibration's largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.rows import Block

# Rows looked back on: half a second at 30 Hz, so that 2 Hz is the slowest seen in full.
WINDOW = 15
# A dimension that never turns back in normal motion may do so by this share of its range.
LEAST_REACH = 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class Oscillation:
    """reach [dims]: largest way wasted in the window by normal episodes."""

    reach: FloatArray

    def wasted(self, block: Block) -> FloatArray:
        """Way [n, dims] that did not get anywhere, in the window up to each row of an episode."""
        steps = np.concatenate([np.zeros((WINDOW, len(self.reach))), block.steps])
        both = np.concatenate([np.abs(steps), steps], axis=1)
        total = np.concatenate([np.zeros((1, both.shape[1])), np.cumsum(both, axis=0)])
        window = total[WINDOW + 1 :] - total[1:-WINDOW]
        dims = steps.shape[1]
        wasted: FloatArray = window[:, :dims] - np.abs(window[:, dims:])
        return wasted

    def score(self, block: Block) -> FloatArray:
        """Largest wasted way over its reach [n]."""
        return np.asarray((self.wasted(block) / self.reach).max(axis=1))


def fit_oscillation(episodes: Sequence[Block], ranges: FloatArray) -> Oscillation:
    """From normal episodes; ranges [dims]."""
    unscaled = Oscillation(np.ones(len(ranges)))
    tops = [unscaled.wasted(block).max(axis=0) for block in episodes]
    return replace(unscaled, reach=np.maximum(np.max(tops, axis=0), LEAST_REACH * ranges))
