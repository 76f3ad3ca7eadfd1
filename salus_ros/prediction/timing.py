"""How long one step of the predictor takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.model import FailureModel
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.signals.layout import SignalVector

_STEPS, _WARM_UP = 3000, 200


def step_times(model: FailureModel, episodes: Sequence[RecordedEpisode]) -> dict[str, Any]:
    """Median, 99th percentile and maximum [s] of `on_signals`, on recorded steps."""
    predictor = FailurePredictor(model)
    steps = [
        SignalVector(values, int(valid))
        for episode in episodes
        for values, valid in zip(episode.signals, episode.valid, strict=True)
    ]
    found = []
    for i in range(_WARM_UP + _STEPS):
        begun = time.perf_counter()
        predictor.on_signals("timing", 0, i, 0, steps[i % len(steps)])
        found.append(time.perf_counter() - begun)
    p50, p99 = np.quantile(found[_WARM_UP:], [0.5, 0.99])
    return {"p50": float(p50), "p99": float(p99), "max": max(found[_WARM_UP:]), "steps": _STEPS}
