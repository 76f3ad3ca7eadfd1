"""Faults put into recorded normal episodes, to see whether and how soon a detector finds them.

Each begins at a row where the arm moves and lasts to the end. None begins with a jump of position,
which any step detector finds: the motion has to give it away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors.rows import Episode

# Creeping bias [rad a row]: 0.09 rad/s at 30 Hz, where the expert's joints move 0.6 rad/s.
CREEP = 0.003
# Oscillation of one joint: amplitude [rad] and period [rows].
AMPLITUDE, PERIOD = 0.03, 6
# Motion since the onset is made larger by this.
GAIN = 1.5
# Rows for which a delayed policy stands still [0.27 s at 30 Hz].
DELAY = 8
# The onset lies in this part of the rows in which the arm moves.
EARLIEST, LATEST = 0.2, 0.7
# A row moves where a joint's step is at least this part of the episode's largest.
MOVING = 0.3


@dataclass(frozen=True, slots=True)
class Faulty:
    """An episode with a fault from row `onset` on."""

    episode: Episode
    onset: int


Fault = Callable[[FloatArray, int, np.random.Generator], FloatArray]


def _slow_drift(arm: FloatArray, onset: int, rng: np.random.Generator) -> FloatArray:
    direction = rng.standard_normal(arm.shape[1])
    direction /= np.linalg.norm(direction)
    rows = np.maximum(np.arange(len(arm)) - onset, 0)
    return np.asarray(arm + CREEP * rows[:, None] * direction)


def _frozen(arm: FloatArray, onset: int, rng: np.random.Generator) -> FloatArray:
    return np.asarray(arm[np.minimum(np.arange(len(arm)), onset - 1)])


def _oscillating(arm: FloatArray, onset: int, rng: np.random.Generator) -> FloatArray:
    rows = np.maximum(np.arange(len(arm)) - onset, 0)
    wave = AMPLITUDE * np.sin(2 * np.pi * rows / PERIOD)
    result = arm.copy()
    result[:, rng.integers(arm.shape[1])] += wave
    return result


def _scaled(arm: FloatArray, onset: int, rng: np.random.Generator) -> FloatArray:
    return _after(arm, onset, GAIN * (arm - arm[onset]))


def _sign_flipped(arm: FloatArray, onset: int, rng: np.random.Generator) -> FloatArray:
    return _after(arm, onset, arm[onset] - arm)


def _delayed(arm: FloatArray, onset: int, rng: np.random.Generator) -> FloatArray:
    rows = np.arange(len(arm))
    late = np.where(rows < onset, rows, np.maximum(rows - DELAY, onset - 1))
    return np.asarray(arm[late])


def _swapped_joints(arm: FloatArray, onset: int, rng: np.random.Generator) -> FloatArray:
    """The motion since the onset of two joints that move changes places."""
    moved = np.abs(arm[onset:] - arm[onset]).max(axis=0)
    first = int(moved.argmax())
    others = [j for j in range(arm.shape[1]) if j != first]
    order = np.arange(arm.shape[1])
    second = int(rng.choice(others))
    order[[first, second]] = order[[second, first]]
    return _after(arm, onset, (arm - arm[onset])[:, order])


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


def inject(name: str, episode: Episode, joints: int, rng: np.random.Generator) -> Faulty:
    """The episode with a fault of that name; joints: the first columns, which it is put into."""
    arm = episode.actions[:, :joints]
    onset = _onset(arm, rng)
    stuck = episode.block().stuck.copy()
    if name == FROZEN_OBSERVATION:
        stuck[onset:] = True
        return Faulty(Episode(episode.actions, stuck), onset)
    actions = episode.actions.copy()
    actions[:, :joints] = FAULTS[name](arm, onset, rng)
    return Faulty(Episode(actions, stuck), onset)


def _onset(arm: FloatArray, rng: np.random.Generator) -> int:
    size = np.abs(np.diff(arm, axis=0, prepend=arm[:1])).max(axis=1)
    moving = np.flatnonzero(size >= MOVING * size.max())
    low, high = (int(part * (len(moving) - 1)) for part in (EARLIEST, LATEST))
    return max(1, int(moving[rng.integers(low, high + 1)]))
