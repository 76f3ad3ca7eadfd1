"""What is predicted: failure types within horizons; as in FailurePrediction.msg."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Horizons [s]: 6, 10, 13 and 16 steps at 30 Hz.
HORIZONS: tuple[float, ...] = (0.2, 0.333, 0.433, 0.533)
FAILURE_TYPES: tuple[str, ...] = ("collision", "drop", "miss", "timeout")


@dataclass(frozen=True, slots=True, eq=False)
class PredictionResult:
    """Probability of failure at one executed step, the row `step` of a chunk.

    valid False: nothing is known, and every number is 0. probabilities [horizons, types] in [0, 1]
    never fall from a shorter horizon to a longer one. episode_failure_probability: that this
    episode fails. episode_score is held against alarm_threshold; alarm has hysteresis.
    """

    source_id: str
    chunk_number: int
    step: int
    observation_stamp: int
    valid: bool
    horizons: tuple[float, ...]
    failure_types: tuple[str, ...]
    probabilities: NDArray[np.float32]
    episode_failure_probability: float = 0.0
    episode_score: float = 0.0
    alarm_threshold: float = 0.0
    alarm: bool = False


def no_prediction(
    source_id: str, chunk_number: int, step: int, observation_stamp: int
) -> PredictionResult:
    """What is said where nothing can be: invalid, and no alarm."""
    return PredictionResult(
        source_id=source_id,
        chunk_number=chunk_number,
        step=step,
        observation_stamp=observation_stamp,
        valid=False,
        horizons=HORIZONS,
        failure_types=FAILURE_TYPES,
        probabilities=np.zeros((len(HORIZONS), len(FAILURE_TYPES)), np.float32),
    )
