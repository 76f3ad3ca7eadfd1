"""frozen: action, joint state or image repeats although it should change.

Three quantities, each over the largest of the calibration's episodes:

- `missed`, for each dimension: how far it would have gone by now at the speed that it had before
  the repeats, from the second on and for at most `MISSED_ROWS`: an arm's normal plan slows down
  before it rests, a frozen one stops dead (a gripper's always does: it is compared with its own);
- `repeats`: rows that the action has been the same; a rest that is longer than any;
- `unseen`: how far the plan has gone while the policy's observation was the same to the bit.

Ways are in typical steps. A single repeat is normal and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.rows import Block

# A step below this part of a typical one is a repeat.
STILL = 0.02
MISSED_ROWS = 5
# The least that counts: typical steps missed, rows repeated, typical steps unseen.
LEAST_MISSED, LEAST_REPEATS, LEAST_UNSEEN = 1.5, 4.0, 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """scale [dims]: typical size of each dimension's steps; reach [dims + 2]: see `quantities`."""

    scale: FloatArray
    reach: FloatArray

    def quantities(self, block: Block) -> FloatArray:
        """Missed by dimension, repeats and unseen [n, dims + 2] after each row of an episode."""
        sizes = np.abs(block.steps / self.scale)
        # The speed that it had before the repeats.
        speed, repeats, unseen = np.zeros(len(self.scale)), 0, 0.0
        found = np.zeros((len(sizes), len(self.reach)))
        rows = zip(found, sizes, sizes.max(axis=1).tolist(), block.stuck.tolist(), strict=True)
        for quantities, row, largest, stuck in rows:
            if largest < STILL:
                repeats += 1
                quantities[:-2] = min(repeats - 1, MISSED_ROWS) * speed
            else:
                repeats, speed = 0, row
            unseen = unseen + largest if stuck else 0.0
            quantities[-2], quantities[-1] = repeats, unseen
        return found

    def score(self, block: Block) -> FloatArray:
        """Largest quantity over its reach [n]."""
        return np.asarray((self.quantities(block) / self.reach).max(axis=1))


def fit_frozen(episodes: Sequence[Block], ranges: FloatArray) -> Frozen:
    """From normal episodes; ranges [dims]."""
    steps = np.concatenate([np.abs(block.steps) for block in episodes])
    dims = len(ranges)
    unscaled = Frozen(_typical(steps, ranges), np.ones(dims + 2))
    tops = [unscaled.quantities(block).max(axis=0) for block in episodes]
    least = np.array([LEAST_MISSED] * dims + [LEAST_REPEATS, LEAST_UNSEEN])
    return replace(unscaled, reach=np.maximum(np.max(tops, axis=0), least))


def _typical(sizes: FloatArray, ranges: FloatArray) -> FloatArray:
    """Median size [dims] of the steps that move, and at least a thousandth of the range."""
    floor = 1e-3 * ranges
    typical = [
        np.median(column[column > least]) if (column > least).any() else least
        for column, least in zip(sizes.T, floor, strict=True)
    ]
    return np.asarray(np.maximum(np.array(typical), floor))
