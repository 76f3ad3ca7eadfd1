"""Thresholds and confidence targets from samples."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedac_core.fallback.config import MIN_THRESHOLD, LayerConfig, Route, Settings

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class RouteState:
    """What calibration settles for a route."""

    thresholds: list[float]
    confidence_targets: list[float]
    calibrated: bool = False

    @classmethod
    def initial(cls, route: Route) -> "RouteState":
        """Return the state before calibration."""
        thresholds = [float(layer.initial_threshold) for layer in route.layers]
        return cls(thresholds, [float(layer.initial_target) for layer in route.layers])

    def to_json(self) -> dict[str, Any]:
        """Return the state as the file holds it."""
        return dict(vars(self))


@dataclass
class Window:
    """The latest samples of one checkpoint; one that is not usable keeps its place, as NaN.

    The n-th sample of each checkpoint is of the same token.
    """

    samples: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    total: int = 0

    def push(self, samples: Floats, capacity: int) -> None:
        """Append samples, forgetting the oldest beyond the capacity."""
        self.samples = np.concatenate([self.samples, samples])[-capacity:]
        self.total += len(samples)

    @property
    def first(self) -> int:
        """Number of the oldest sample that is kept."""
        return self.total - len(self.samples)

    def finite(self) -> Floats:
        """Return the finite samples."""
        finite: Floats = self.samples[np.isfinite(self.samples)]
        return finite


def complete_tokens(windows: list[Window]) -> Floats:
    """Return the tokens that every window holds with a finite sample, one row a checkpoint."""
    start = max(window.first for window in windows)
    end = max(start, min(window.total for window in windows))
    rows = (
        np.stack([w.samples[start - w.first : end - w.first] for w in windows])
        if end > start
        else np.empty((len(windows), 0), np.float32)
    )
    return rows[:, np.isfinite(rows).all(axis=0)]


def updated(
    settings: Settings,
    route: int,
    state: RouteState,
    windows: list[Window],
    checkpoint: int,
    samples: Floats,
) -> RouteState:
    """Return a route's state after its windows took samples at one checkpoint."""
    layers = settings.routes[route].layers
    if state.calibrated:
        finite = samples[np.isfinite(samples)]
        if not finite.size:
            return state
        thresholds = list(state.thresholds)
        moved = settings.alpha * _quantile(settings, layers[checkpoint], finite)
        moved += (1 - settings.alpha) * thresholds[checkpoint]
        thresholds[checkpoint] = max(moved, MIN_THRESHOLD)
    else:
        if any(len(window.finite()) < settings.calibration_steps for window in windows):
            return state
        thresholds = [
            max(_quantile(settings, layer, window.finite()), MIN_THRESHOLD)
            for layer, window in zip(layers, windows, strict=True)
        ]
    state = replace(state, thresholds=thresholds, calibrated=True)
    risk = complete_tokens(windows)
    # Half a warm-up is the least that says anything (after a load, or with gaps in the samples).
    if risk.shape[1] * 2 < settings.calibration_steps:
        return state
    targets = solve_targets(
        risk, layers, thresholds, state.confidence_targets, settings.confidence_decay
    )
    return replace(state, confidence_targets=targets)


def _quantile(settings: Settings, layer: LayerConfig, samples: Floats) -> float:
    level = layer.target_exit_rate if settings.scale_quantile is None else settings.scale_quantile
    return float(np.quantile(samples.astype(np.float64), level))


def confidence(threshold: float, risk: Floats) -> Floats:
    """Return clamp((threshold - risk) / threshold, 0, 1) in float32."""
    scale = np.float32(threshold)
    with np.errstate(over="ignore"):  # far beyond the threshold: minus infinity is clipped to 0
        raw = (scale - risk) / scale
    result: Floats = np.clip(raw, np.float32(0), np.float32(1))
    return result


def solve_targets(
    risk: Floats,
    layers: Sequence[LayerConfig],
    thresholds: Sequence[float],
    before: Sequence[float],
    decay: float,
) -> list[float]:
    """Return the targets at which the share that has exited up to each checkpoint is its rate.

    As near as ties allow; a token without any confidence never exits. A target that the caller
    set is kept and counted; `before` serves where there is nothing to solve on.
    """
    tokens = risk.shape[1]
    alive = np.ones(tokens, np.bool_)
    accumulated = np.zeros(tokens, np.float32)
    targets: list[float] = []
    for layer, threshold, old, row in zip(layers, thresholds, before, risk, strict=True):
        accumulated *= np.float32(decay)
        accumulated += np.float32(layer.weight) * confidence(threshold, row)
        # Half away from zero, as the compiled core rounds.
        wanted = max(0, int(np.floor(layer.target_exit_rate * tokens + 0.5)) - int((~alive).sum()))
        target = layer.confidence_target
        if target is None:
            target = _target_for(accumulated[alive], wanted)
        targets.append(float(old if target is None else target))
        alive &= accumulated < np.float32(targets[-1])
    return targets


def _target_for(scores: Floats, wanted: int) -> float | None:
    """Return the target that `wanted` of the scores reach; the smaller count at equal distance."""
    ranked = np.sort(scores[scores > 0])[::-1]
    if not ranked.size:
        return None
    infinity = np.float32(np.inf)
    if wanted == 0:
        return float(np.nextafter(ranked[0], infinity))
    last = ranked[min(wanted, ranked.size) - 1]
    above, reaching = int((ranked > last).sum()), int((ranked >= last).sum())
    if abs(reaching - wanted) < wanted - above:
        return float(last)
    return float(np.nextafter(last, infinity) if above == 0 else ranked[above - 1])
