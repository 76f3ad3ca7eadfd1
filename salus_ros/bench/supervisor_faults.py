"""Faults put into recorded normal episodes, to see whether and how soon a detector finds them.

Each lasts to the end. None begins with a jump of position, which any step detector finds: the
motion has to give it away. Where the plans behind the rows are known, a fault begins with a plan
(it is the policy's), about where the arm moves, and is in all that the later plans hold, too, what
of them is never executed included. Where only rows are known it begins at a row where the arm
moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.rows import Episode, Takeover

# The onset lies in this part of the rows in which the arm moves.
EARLIEST, LATEST = 0.2, 0.7
# A row moves where a joint's step is at least this part of the episode's largest.
MOVING = 0.3


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the faults are.

    creep: bias [rad a row]; 0.003 is 0.09 rad/s at 30 Hz, where the expert's joints move 0.6 rad/s.
    amplitude [rad] and period [rows]: of the oscillation of one joint. gain: factor on the motion
    since the onset. delay: rows for which a delayed policy stands still; 8 are 0.27 s at 30 Hz.
    """

    creep: float = 0.003
    amplitude: float = 0.03
    period: int = 6
    gain: float = 1.5
    delay: int = 8

    def for_steps(self, typical: float) -> Sizes:
        """Of the same share of a typical step, where that isn't the Panda's 0.02 rad a row."""
        share = typical / 0.02
        return replace(self, creep=self.creep * share, amplitude=self.amplitude * share)


USUAL = Sizes()


@dataclass(frozen=True, slots=True)
class Faulty:
    """An episode with a fault from row `onset` on."""

    episode: Episode
    onset: int


# Rows [n, joints] with the fault, from those without it; how many rows follow makes no difference
# to what the ones before become.
Change = Callable[[FloatArray], FloatArray]
Fault = Callable[[FloatArray, int, np.random.Generator, Sizes], Change]


def _slow_drift(arm: FloatArray, onset: int, rng: np.random.Generator, sizes: Sizes) -> Change:
    direction = rng.standard_normal(arm.shape[1])
    direction /= np.linalg.norm(direction)
    return lambda rows: rows + sizes.creep * _since(rows, onset)[:, None] * direction


def _frozen(arm: FloatArray, onset: int, rng: np.random.Generator, sizes: Sizes) -> Change:
    def change(rows: FloatArray) -> FloatArray:
        return np.asarray(rows[np.minimum(np.arange(len(rows)), onset - 1)])

    return change


def _oscillating(arm: FloatArray, onset: int, rng: np.random.Generator, sizes: Sizes) -> Change:
    shaken = np.eye(arm.shape[1])[rng.integers(arm.shape[1])]

    def change(rows: FloatArray) -> FloatArray:
        wave = sizes.amplitude * np.sin(2 * np.pi * _since(rows, onset) / sizes.period)
        return np.asarray(rows + wave[:, None] * shaken)

    return change


def _scaled(arm: FloatArray, onset: int, rng: np.random.Generator, sizes: Sizes) -> Change:
    return lambda rows: _after(rows, onset, sizes.gain * (rows - rows[onset]))


def _sign_flipped(arm: FloatArray, onset: int, rng: np.random.Generator, sizes: Sizes) -> Change:
    return lambda rows: _after(rows, onset, rows[onset] - rows)


def _delayed(arm: FloatArray, onset: int, rng: np.random.Generator, sizes: Sizes) -> Change:
    def change(rows: FloatArray) -> FloatArray:
        now = np.arange(len(rows))
        late = np.where(now < onset, now, np.maximum(now - sizes.delay, onset - 1))
        return np.asarray(rows[late])

    return change


def _swapped_joints(arm: FloatArray, onset: int, rng: np.random.Generator, sizes: Sizes) -> Change:
    """The motion since the onset of two joints changes places; the one that moves most is one."""
    moved = np.abs(arm[onset:] - arm[onset]).max(axis=0)
    first = int(moved.argmax())
    others = [j for j in range(arm.shape[1]) if j != first]
    order = np.arange(arm.shape[1])
    second = int(rng.choice(others))
    order[[first, second]] = order[[second, first]]
    return lambda rows: _after(rows, onset, (rows - rows[onset])[:, order])


def _since(rows: FloatArray, onset: int) -> FloatArray:
    return np.asarray(np.maximum(np.arange(len(rows)) - onset, 0.0))


def _after(arm: FloatArray, onset: int, displacement: FloatArray) -> FloatArray:
    """The arm displaced from where it was at the onset, from the onset on."""
    rows = np.arange(len(arm))[:, None]
    return np.where(rows < onset, arm, arm[onset] + displacement)


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "slow_drift": _slow_drift,
        "frozen": _frozen,
        "oscillating": _oscillating,
        "scaled": _scaled,
        "delayed": _delayed,
        "sign_flipped": _sign_flipped,
        "swapped_joints": _swapped_joints,
    }
)
# The actions stay as they were; the policy sees the same observation over and over.
FROZEN_OBSERVATION = "frozen_observation"
FAULT_NAMES = (*FAULTS, FROZEN_OBSERVATION)
# Faults that can be there from the first row on, and change the motion.
STANDING_FAULTS = ("scaled", "sign_flipped", "swapped_joints")


def inject(
    name: str,
    episode: Episode,
    columns: Sequence[int],
    rng: np.random.Generator,
    sizes: Sizes = USUAL,
    from_start: bool = False,
) -> Faulty:
    """The episode with a fault of that name, put into the columns of the arm.

    from_start: the fault is there from the first row on, in all plans.
    """
    columns = list(columns)
    arm = episode.actions[:, columns]
    onset = 1 if from_start else _onset(arm, episode.takeovers, rng)
    if name == FROZEN_OBSERVATION:
        stuck = episode.block().stuck.copy()
        stuck[onset:] = True
        return Faulty(replace(episode, stuck=stuck), onset)
    change = FAULTS[name](arm, onset, rng, sizes)
    faulty = replace(
        episode,
        actions=_changed(episode.actions, columns, change),
        takeovers=tuple(
            _in_plan(takeover, episode.actions, columns, change)
            if from_start or takeover.row >= onset
            else takeover
            for takeover in episode.takeovers
        ),
    )
    return Faulty(faulty, onset)


def _changed(rows: FloatArray, columns: list[int], change: Change) -> FloatArray:
    changed = rows.copy()
    changed[:, columns] = change(rows[:, columns])
    return changed


def _in_plan(
    takeover: Takeover, executed: FloatArray, columns: list[int], change: Change
) -> Takeover:
    """The fault in all rows of a plan, whether or not another replaces them."""
    whole = np.concatenate([executed[: takeover.row], takeover.actions])
    return replace(takeover, actions=_changed(whole, columns, change)[takeover.row :])


def _onset(arm: FloatArray, takeovers: Sequence[Takeover], rng: np.random.Generator) -> int:
    size = np.abs(np.diff(arm, axis=0, prepend=arm[:1])).max(axis=1)
    moves = size >= MOVING * size.max()
    moving = np.flatnonzero(moves)
    low, high = (int(part * (len(moving) - 1)) for part in (EARLIEST, LATEST))
    drawn = max(1, int(moving[rng.integers(low, high + 1)]))
    begins = [takeover.row for takeover in takeovers if takeover.row > 0]
    if not begins:
        return drawn
    in_motion = [row for row in begins if moves[row]] or begins
    return min(in_motion, key=lambda row: abs(row - drawn))
