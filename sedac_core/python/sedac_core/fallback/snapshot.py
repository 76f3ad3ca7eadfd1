"""What one evaluation reads, frozen, and what it counts."""

import threading
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedac_core.fallback.calibration import RouteState
from sedac_core.fallback.checks import FLOAT32_TINY
from sedac_core.fallback.config import Settings
from sedac_core.fallback.rule import Checkpoint

LARGEST_BONUS = 0.1
RECENT = 63


class Stats:
    """Counters that any thread may add to."""

    def __init__(self, settings: Settings) -> None:
        layers = sorted({layer.layer_idx for route in settings.routes for layer in route.layers})
        self._lock = threading.Lock()
        self._calls = self._tokens = self._ignored = 0
        self._exits = dict.fromkeys(layers, 0)

    def record_call(
        self, exit_layers: NDArray[np.int32], ignored: int, flags: NDArray[np.bool_]
    ) -> None:
        """Count one finished call; `flags` is room for one comparison."""
        exits = {
            layer: int(np.count_nonzero(np.equal(exit_layers, layer, out=flags)))
            for layer in self._exits
        }
        with self._lock:
            self._calls += 1
            self._tokens += len(exit_layers)
            self._ignored += ignored
            for layer, count in exits.items():
                self._exits[layer] += count

    def record_ignored(self, count: int) -> None:
        """Count samples that were left out."""
        with self._lock:
            self._ignored += count

    def counts(self) -> dict[str, Any]:
        """Return the counters now."""
        with self._lock:
            return {
                "calls": self._calls,
                "tokens": self._tokens,
                "exits_per_layer": dict(self._exits),
                "ignored_samples": self._ignored,
            }


class Outcomes:
    """Whether recent exits were right, for the bonus of adaptive decay."""

    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=RECENT)

    def record(self, right: list[bool]) -> None:
        """Record outcomes in order."""
        self._recent.extend(right)

    def bonus(self) -> float:
        """Return the bonus: its largest value times the share of right exits."""
        recent = list(self._recent)
        return LARGEST_BONUS * sum(recent) / len(recent) if recent else 0.0

    def clear(self) -> None:
        """Forget every outcome."""
        self._recent.clear()


@dataclass(frozen=True)
class Snapshot:
    """Everything that an evaluation reads; never changed once published."""

    settings: Settings
    states: list[RouteState]
    stats: Stats
    plans: list[list[Checkpoint]] = field(init=False)

    def __post_init__(self) -> None:
        plans = [self._plan_of(index) for index in range(len(self.states))]
        object.__setattr__(self, "plans", plans)

    @classmethod
    def initial(cls, settings: Settings) -> "Snapshot":
        """Return the snapshot before calibration, with counters at zero."""
        states = [RouteState.initial(route) for route in settings.routes]
        return cls(settings, states, Stats(settings))

    def with_state(self, route: int, state: RouteState) -> "Snapshot":
        """Return this snapshot with another state of one route."""
        states = list(self.states)
        states[route] = state
        return replace(self, states=states)

    def _plan_of(self, route: int) -> list[Checkpoint]:
        # The single-layer rule is the same loop: with decay 0 and weight 1 the confidence is the
        # layer's own, and r < threshold holds exactly where that is above 0.
        state, single = self.states[route], self.settings.mode == "single_layer"
        return [
            Checkpoint(
                np.array(layer.layer_idx, np.int32),
                np.array(threshold, np.float32),
                np.array(1.0 if single else layer.weight, np.float32),
                np.array(FLOAT32_TINY if single else target, np.float32),
            )
            for layer, threshold, target in zip(
                self.settings.routes[route].layers,
                state.thresholds,
                state.confidence_targets,
                strict=True,
            )
        ]

    def plan(self, routes: NDArray[np.intp] | None) -> list[Checkpoint]:
        """Return the checkpoints: with numbers, or with one value a token for mixed routes."""
        if routes is None:
            return self.plans[0]
        return [
            Checkpoint(
                *(
                    np.array([getattr(plan[i], name) for plan in self.plans])[routes]
                    for name in ("layer_idx", "threshold", "weight", "target")
                )
            )
            for i in range(self.settings.checkpoints)
        ]

    def layers(self, plan: list[Checkpoint]) -> NDArray[np.int32]:
        """Return the layer of each checkpoint, one row each, of one or `batch` columns."""
        return np.stack([np.atleast_1d(checkpoint.layer_idx) for checkpoint in plan])

    def check_routes(self, routes: NDArray[np.intp]) -> None:
        """Raise IndexError for the first token whose route does not exist."""
        bad = (routes < 0) | (routes >= len(self.plans))
        if bad.any():
            token = int(np.argmax(bad))
            raise IndexError(
                f"route {routes[token]} of token {token} does not exist; this controller has "
                f"{len(self.plans)}, counted from 0"
            )

    def decay(self, uncertainty: float, bonus: float) -> np.float32:
        """Return the decay of a step with this uncertainty and bonus."""
        one, decay = np.float32(1), np.float32(self.settings.confidence_decay)
        if self.settings.mode == "single_layer":
            decay = np.float32(0)
        elif self.settings.adaptive_decay:
            adapted = decay * (one - np.float32(uncertainty)) * (one + np.float32(bonus))
            decay = np.float32(min(adapted, one))
        result: np.float32 = decay
        return result
