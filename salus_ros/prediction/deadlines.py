"""When timeouts begin: no signal shows it, a clock does.

A discrete-time hazard: of the training's timeouts that had not begun by now, the share that begins
within each horizon. Its logarithm is added to the logits of that type and to nothing else, so that
neither the other types nor the episode's score and alarm can learn from the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.layout import FAILURE_TYPES, HORIZONS
from salus_ros.prediction.platt import FEWEST_POSITIVE_EPISODES

TIMEOUT = FAILURE_TYPES.index("timeout")
# Rounding of recorded times must not move an onset [s].
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Deadlines:
    """onsets [n]: when the timeouts of the training began, s since the start, rising; may be none.

    They are those of the time limit that the episodes were recorded under.
    """

    onsets: FloatArray = field(default_factory=lambda: np.empty(0))

    def shares(self, elapsed: FloatArray, horizons: Sequence[float] = HORIZONS) -> FloatArray:
        """[..., horizons] in (0, 1], never falling over horizons; elapsed [...]: s since the start.

        One more timeout is added that may begin at any time alike: a time at which none has begun
        is unlikely, not impossible. Raises ValueError where there are no onsets.
        """
        if not len(self.onsets):
            raise ValueError("there are no onsets: nothing is known of when timeouts begin")
        ends = np.asarray(elapsed)[..., None] + np.array(horizons)
        begun = np.searchsorted(self.onsets, elapsed, side="right")[..., None]
        within = np.searchsorted(self.onsets, ends + _ROUNDING, side="right") - begun
        anywhere = np.array(horizons) / max(self.onsets[-1], horizons[-1])
        shares: FloatArray = (within + anywhere) / (len(self.onsets) - begun + 1)
        return shares

    def applied(
        self,
        logits: NDArray[np.floating],
        elapsed: FloatArray,
        horizons: Sequence[float] = HORIZONS,
    ) -> FloatArray:
        """Logits [..., horizons, types] with what the clock says of timeouts; elapsed [...] s."""
        found: FloatArray = logits.astype(np.float64)
        if len(self.onsets):
            found[..., TIMEOUT] += np.log(self.shares(elapsed, horizons))
        return found


def fit_deadlines(
    training: Sequence[RecordedEpisode], calibration: Sequence[RecordedEpisode]
) -> Deadlines:
    """From the training's timeouts; none where they, or those to calibrate with, are too few."""
    onsets, others = (
        [e.onset for e in group if e.failure_type == FAILURE_TYPES[TIMEOUT]]
        for group in (training, calibration)
    )
    enough = min(len(onsets), len(others)) >= FEWEST_POSITIVE_EPISODES
    return Deadlines(np.sort(onsets)) if enough else Deadlines()


def elapsed_times(parts: Sequence[slice], step_period: float) -> FloatArray:
    """[T] s: how long the history has been at each step, of stretches that each began with none."""
    counts = [np.arange(1, part.stop - part.start + 1) for part in parts]
    return np.concatenate(counts) * step_period
