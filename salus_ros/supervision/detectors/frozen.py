"""frozen: action, joint state or image repeats although it should change.

Three quantities, each over the largest of the calibration's episodes:

- `missed`: how far the plan would have gone by now at the speed that it had before it froze, for
  at most `MISSED_ROWS`: a normal plan slows down before it rests, a frozen one stops dead;
- `repeats`: rows that the action has been the same; a rest that is longer than any;
- `unseen`: how far the plan has gone while the policy's observation was the same to the bit.

Ways are in typical steps, so that one repeat is nothing.
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
# The least that counts: a typical step missed for 3 rows, 5 repeats, 5 typical steps unseen.
LEAST_REACH = np.array([2.0, 4.0, 4.0])


@dataclass(frozen=True, slots=True)
class FrozenState:
    """speed: of the last row that moved, in typical steps; repeats [rows]; unseen: see module."""

    speed: float = 0.0
    repeats: int = 0
    unseen: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """scale [dims]: typical size of each dimension's steps; reach [3]: missed, repeats, unseen."""

    scale: FloatArray
    reach: FloatArray

    def fresh(self) -> FrozenState:
        """The state before an episode's first row."""
        return FrozenState()

    def quantities(self, block: Block, before: FrozenState) -> tuple[FloatArray, FrozenState]:
        """Missed, repeats and unseen [n, 3] at each row, and the state after the last."""
        sizes = np.abs(block.steps / self.scale).max(axis=1).tolist()
        speed, repeats, unseen = before.speed, before.repeats, before.unseen
        found = np.empty((len(sizes), 3))
        for row, (size, stuck) in enumerate(zip(sizes, block.stuck.tolist(), strict=True)):
            repeats = repeats + 1 if size < STILL else 0
            speed = speed if repeats else size
            unseen = unseen + size if stuck else 0.0
            found[row] = speed * min(repeats, MISSED_ROWS), repeats, unseen
        return found, FrozenState(speed, repeats, unseen)

    def score(self, block: Block, before: FrozenState) -> tuple[FloatArray, FrozenState]:
        """Largest quantity over its reach [n], and the state after the last row."""
        found, after = self.quantities(block, before)
        return (found / self.reach).max(axis=1), after


def fit_frozen(episodes: Sequence[Block], ranges: FloatArray) -> Frozen:
    """From normal episodes; ranges [dims]."""
    steps = np.concatenate([np.abs(block.steps) for block in episodes])
    unscaled = Frozen(_typical(steps, ranges), np.ones(3))
    tops = [unscaled.quantities(block, unscaled.fresh())[0].max(axis=0) for block in episodes]
    return replace(unscaled, reach=np.maximum(np.max(tops, axis=0), LEAST_REACH))


def _typical(sizes: FloatArray, ranges: FloatArray) -> FloatArray:
    """Median size [dims] of the steps that move, and at least a thousandth of the range."""
    floor = 1e-3 * ranges
    typical = [
        np.median(column[column > least]) if (column > least).any() else least
        for column, least in zip(sizes.T, floor, strict=True)
    ]
    return np.asarray(np.maximum(np.array(typical), floor))
