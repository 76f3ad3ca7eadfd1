"""Settings from careful to bold, chosen on data that certifies nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray
from salus_ros.policy.early_exit.settings import EarlyExitError, ExitSetting, Kind
from sedac_core import LayerConfig, quantile, solve_confidence_targets

Risk = NDArray[np.float32]

SCALE_QUANTILE = 0.95
"""Of the risks, that the thresholds begin from: confidence then says something of nearly all."""
MULTIPLES = (0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)
"""Of that quantile: larger ones make every chunk more confident, and skip more."""
EXIT_RATES = (0.3, 0.6, 0.9, 0.99)
DECAY = 0.9
EARLY, MIDDLE = 0.3, 0.4


def default_weights(layers: int) -> tuple[float, ...]:
    """Those of docs/sedac.md for three checkpoints, equal ones for any other number."""
    return (EARLY, MIDDLE, EARLY) if layers == 3 else (1.0 / layers,) * layers


def accumulating(risk: Risk, kind: Kind, multiple: float, exit_rate: float) -> ExitSetting:
    """A setting with targets solved for this exit rate on risks [layers, n], spread evenly."""
    layers = len(risk)
    rates = tuple(exit_rate * (i + 1) / layers for i in range(layers))
    weights = default_weights(layers)
    thresholds = tuple(max(1e-6, multiple * quantile(row, SCALE_QUANTILE)) for row in risk)
    rows = zip(range(layers), rates, thresholds, weights, strict=True)
    targets = solve_confidence_targets(risk, [LayerConfig(*row) for row in rows], DECAY)
    return ExitSetting(kind, thresholds, tuple(targets), weights, rates, DECAY)


def single_layer(risk: Risk, exit_rate: float) -> ExitSetting:
    """The older rule with thresholds for this exit rate on risks [layers, n], spread evenly."""
    layers, n = risk.shape
    alive, thresholds = np.ones(n, np.bool_), []
    for i, row in enumerate(risk):
        wanted = round(exit_rate * (i + 1) / layers * n) - int((~alive).sum())
        ranked = np.sort(row[alive])
        place = min(max(wanted, 0), len(ranked) - 1)
        thresholds.append(max(1e-6, float(ranked[place])))
        alive &= row >= np.float32(thresholds[-1])
    rates = tuple(exit_rate * (i + 1) / layers for i in range(layers))
    ones = (1.0,) * layers
    return ExitSetting("single_layer", tuple(thresholds), rates, ones, rates, DECAY)


def candidates(risk: Risk) -> list[ExitSetting]:
    """Every soft setting of the grid that these risks allow."""
    pairs = product(MULTIPLES, EXIT_RATES)
    return possible([accumulating(risk, "soft", multiple, rate) for multiple, rate in pairs])


def possible(settings: Sequence[ExitSetting]) -> list[ExitSetting]:
    """Those whose exit rates can be reached: too few risks may lie below a threshold."""
    found = []
    for setting in settings:
        layers = tuple(range(len(setting.thresholds)))
        try:
            setting.controller(layers, len(layers))
        except EarlyExitError:
            continue
        found.append(setting)
    return found


def best_by_saving(savings: FloatArray, errors: FloatArray, most: int) -> list[int]:
    """Candidates that no other beats in both, rising in saving; at most so many, spread evenly."""
    front: list[int] = []
    for i in np.argsort(-savings, kind="stable"):
        if savings[i] > 0.0 and (not front or errors[i] < errors[front[-1]]):
            front.append(int(i))
    return _thinned(front[::-1], most)


def _thinned(front: Sequence[int], most: int) -> list[int]:
    if len(front) <= most:
        return list(front)
    places = np.unique(np.linspace(0, len(front) - 1, most).round().astype(int))
    return [front[place] for place in places]
