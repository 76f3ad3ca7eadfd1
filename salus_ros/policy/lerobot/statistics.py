"""What a policy's processors know of the data that it was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from lerobot.utils.constants import ACTION
from torch import Tensor

from salus_ros.interfaces import FloatArray

SPREAD = 3.0  # standard deviations to each side, where no extremes are known


def feature_statistics(processor: Any) -> dict[str, dict[str, Tensor]]:
    """Statistics by feature and name ("mean", "std", "min", ...) of a processor's normalisation."""
    found: dict[str, dict[str, Tensor]] = {}
    for step in processor.steps:
        found.update(getattr(step, "_tensor_stats", None) or {})
    return found


def action_range(postprocess: Any) -> tuple[FloatArray, FloatArray] | None:
    """Lowest and highest action [dims], in the policy's units; None where nothing is known."""
    known = feature_statistics(postprocess).get(ACTION, {})
    if {"min", "max"} <= set(known):
        low, high = _vector(known["min"]), _vector(known["max"])
    elif {"mean", "std"} <= set(known):
        mean, spread = _vector(known["mean"]), SPREAD * _vector(known["std"])
        low, high = mean - spread, mean + spread
    else:
        return None
    # A dimension that never moved still needs bins of some width.
    return low, np.maximum(high, low + 1e-6)


def _vector(values: Tensor) -> FloatArray:
    return np.asarray(values.double().cpu().numpy()).reshape(-1)
