"""What the network sees of a step: signals on one scale, and which of them are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.window import known_values
from salus_ros.signals.layout import (
    ACCELERATION,
    CONSISTENCY,
    DIVERGENCE,
    ENTROPY,
    LATENT_DRIFT,
    MAGNITUDE,
    MARGIN,
    MAX_PROB,
    MISMATCH,
    NORM_SPIKE,
    OOD_DISTANCE,
    SIGNALS,
    VOLATILITY,
)

FEATURES = 2 * SIGNALS
# What is missing together: a policy without a latent, without a distribution, a robot that doesn't
# report its joints.
GROUPS: dict[str, tuple[int, ...]] = {
    "action": (VOLATILITY, MAGNITUDE, ACCELERATION, DIVERGENCE, CONSISTENCY),
    "latent": (LATENT_DRIFT, NORM_SPIKE, OOD_DISTANCE),
    "distribution": (ENTROPY, MAX_PROB),
    "robot": (MISMATCH, MARGIN),
}
_SMALLEST_SCALE = 1e-6
# Far beyond any scale, and its quotient with one is still a float32.
_LARGEST = 1e30


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """Centre and scale [12] of the signals: median and interquartile range of known values."""

    centre: NDArray[np.float32]
    scale: NDArray[np.float32]

    def apply(self, values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Features [..., 24] of signals [..., 12]: values, 0 where unknown, then the flags.

        Beyond the scale, values grow as their logarithm: what was never seen in training stays
        within what the network can tell.
        """
        offset = (np.clip(values, -_LARGEST, _LARGEST) - self.centre) / self.scale
        squashed = np.sign(offset) * np.log1p(np.abs(offset))
        return np.concatenate([np.where(known, squashed, 0.0), known], -1, dtype=np.float32)


def known_signals(episode: RecordedEpisode) -> NDArray[np.bool_]:
    """[T, 12]: which signals of each step can be used."""
    return known_values(episode.signals, episode.valid)


def beginnings(known: NDArray[np.bool_], sources: Sequence[str] = ()) -> list[slice]:
    """The stretches of steps between which the signals' history began anew.

    known [T, 12]: signals; sources [T]: of whom they are; none: all of one. It begins anew at a new
    instruction or source, too. See `history_begins`.
    """
    anew = known[:, MAGNITUDE] & ~known[:, VOLATILITY]
    if sources:
        anew[1:] |= np.array([a != b for a, b in pairwise(sources)], np.bool_)
    bounds = [0, *(np.flatnonzero(anew[1:]) + 1).tolist(), len(known)]
    return [slice(first, end) for first, end in pairwise(bounds)]


def history_begins(known: NDArray[np.bool_]) -> bool:
    """Whether the step with these known signals [12] is the first of a history.

    Its action is known, the change from the one before isn't; after an action that can't be used,
    the change is to the last one that could.
    """
    return bool(known[MAGNITUDE] and not known[VOLATILITY])


def fit_normalisation(episodes: Sequence[RecordedEpisode]) -> Normalisation:
    """From the steps before a failure. A signal that is never known gets 0 and 1."""
    values = np.concatenate([e.signals[: e.steps_before_onset] for e in episodes])
    known = np.concatenate([known_signals(e)[: e.steps_before_onset] for e in episodes])
    centre, scale = np.zeros(SIGNALS, np.float32), np.ones(SIGNALS, np.float32)
    for signal in range(SIGNALS):
        column: FloatArray = values[known[:, signal], signal].astype(np.float64)
        if column.size:
            low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
            centre[signal] = middle
            scale[signal] = max(high - low, column.std(), _SMALLEST_SCALE)
    return Normalisation(centre, scale)


def features(episode: RecordedEpisode, norm: Normalisation) -> NDArray[np.float32]:
    """Features [T, 24] of all steps."""
    known = known_signals(episode)
    return norm.apply(np.where(known, episode.signals, 0.0).astype(np.float32), known)
