"""What the detectors look at: rows of raw chunks in the order in which they are due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.errors import DetectorError
from salus_ros.supervision.detectors.plan_rows import disagreement

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Successive rows: actions [n, dims] in the policy's space, steps [n, dims] to each of them.

    A step is 0 where the row before is not known, or is no step of the policy's (off_plan). stuck
    [n]: the policy's observation was the very one before, to the bit. revisions [n, dims]: at a row
    that a new plan takes over, its disagreement with the plan before; else 0.
    """

    actions: FloatArray
    steps: FloatArray
    stuck: BoolArray
    revisions: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Takeover:
    """A plan comes into force with an episode's row `row`; actions [m, dims]: from that row on.

    off_plan: see TimedPlan.
    """

    row: int
    actions: FloatArray
    off_plan: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """One recorded sequence of rows.

    actions [n, dims]: as scored, each row once. stuck [n]: see Block; None: never. takeovers: of
    the plans that the rows are of, in their order; none: only the rows are known.
    """

    actions: FloatArray
    stuck: BoolArray | None = None
    takeovers: tuple[Takeover, ...] = ()

    def block(self) -> Block:
        """The whole episode as one block."""
        actions = np.ascontiguousarray(self.actions, dtype=np.float64)
        stuck = np.zeros(len(actions), np.bool_) if self.stuck is None else self.stuck
        steps = steps_of(actions)
        steps[[takeover.row for takeover in self.takeovers if takeover.off_plan]] = 0.0
        return Block(actions, steps, stuck, self._revisions(actions))

    def _revisions(self, actions: FloatArray) -> FloatArray:
        revisions = np.zeros_like(actions)
        for old, new in pairwise(self.takeovers):
            if not new.off_plan:
                rest = old.actions[new.row - old.row :]
                revisions[new.row] = disagreement(rest, new.actions)
        return revisions


def steps_of(actions: FloatArray) -> FloatArray:
    """Step [n, dims] to each row of actions [n, dims]; the first one's is 0."""
    return np.diff(actions, axis=0, prepend=actions[:1])


def check_episodes(episodes: Sequence[Episode], ranges: FloatArray) -> None:
    """Raise DetectorError where episodes don't fit ranges [dims] or each other."""
    if not episodes:
        raise DetectorError("no episodes to calibrate on: record some normal ones")
    for number, episode in enumerate(episodes):
        shape = np.shape(episode.actions)
        if len(shape) != 2 or shape[1] != len(ranges) or shape[0] < 2:
            raise DetectorError(
                f"episode {number}: actions have shape {shape}: expected 2 or more rows of "
                f"{len(ranges)}"
            )
        if not np.isfinite(episode.actions).all():
            raise DetectorError(f"episode {number}: an action is not finite: leave it out")
        if episode.stuck is not None and np.shape(episode.stuck) != shape[:1]:
            raise DetectorError(f"episode {number}: stuck has shape {np.shape(episode.stuck)}")
