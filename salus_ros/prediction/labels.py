"""What the model is to say at each step, from what happened later."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.layout import FAILURE_TYPES, HORIZONS

# Rounding of recorded times must not lose a label [s].
_ROUNDING = 1e-6


def step_labels(
    episode: RecordedEpisode, horizons: tuple[float, ...] = HORIZONS
) -> NDArray[np.bool_]:
    """[T, horizons, types]: whether a failure of that type begins within (t, t + h].

    T: the steps before the onset; later ones are nobody's business.
    """
    count = episode.steps_before_onset
    labels = np.zeros((count, len(horizons), len(FAILURE_TYPES)), np.bool_)
    if episode.failed:
        ahead = episode.onset - episode.times[:count]
        kind = FAILURE_TYPES.index(episode.failure_type)
        labels[:, :, kind] = ahead[:, None] <= np.array(horizons) + _ROUNDING
    return labels
