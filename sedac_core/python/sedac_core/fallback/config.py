"""What a controller is built from: configuration, defaults, environment."""

import math
import os
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from sedac_core.fallback.checks import (
    FLOAT32_MAX,
    FLOAT32_TINY,
    from_environment,
    require,
)

DEFAULT_ROUTE = "default"
MIN_THRESHOLD = 1e-6
MAX_CHECKPOINTS = 255


@dataclass(frozen=True)
class LayerConfig:
    """One checkpoint of the model.

    layer_idx: the model's layer after which the probe runs, counted from 0.
    target_exit_rate: share of tokens that should have exited at or before it, in (0, 1].
    initial_threshold: scale of the confidence before calibration, >= 1e-6, in units of risk.
    confidence_weight: weight of its confidence, >= 0; None reads SEDAC_LAYER_WEIGHTS.
    confidence_target: confidence that triggers the exit, > 0; None: the target exit rate until
        calibration solves it. A value given here is kept through calibration.

    ValueError names the first value outside its range.
    """

    layer_idx: int
    target_exit_rate: float
    initial_threshold: float
    confidence_weight: float | None = None
    confidence_target: float | None = None

    def __post_init__(self) -> None:
        index, rate, threshold = self.layer_idx, self.target_exit_rate, self.initial_threshold
        require(0 <= index <= 2**31 - 1, "layer_idx", index, "a layer index from 0 to 2147483647")
        require(0 < rate <= 1, "target_exit_rate", rate, "above 0 and at most 1")
        scale = MIN_THRESHOLD <= threshold <= FLOAT32_MAX
        require(scale, "initial_threshold", threshold, "finite and at least 1e-6")
        weight, target = self.confidence_weight, self.confidence_target
        if weight is not None:
            require(0 <= weight <= 1e6, "confidence_weight", weight, "from 0 to 1e6")
        if target is not None:
            # Smaller than float32 can hold would round to 0, and then everything would exit.
            inside = FLOAT32_TINY <= target <= FLOAT32_MAX
            require(inside, "confidence_target", target, "finite and above 0")

    @property
    def weight(self) -> float:
        """The weight, settled when the settings were resolved."""
        return self.confidence_weight or 0.0

    @property
    def initial_target(self) -> float:
        """The confidence that triggers the exit before calibration."""
        return self.target_exit_rate if self.confidence_target is None else self.confidence_target


def default_layers() -> list[LayerConfig]:
    """Return the checkpoints of a model of 28 or more layers."""
    return [LayerConfig(7, 0.2, 0.8), LayerConfig(14, 0.5, 1.0), LayerConfig(21, 0.8, 1.2)]


@dataclass(frozen=True)
class Route:
    """A named group of tokens with its own checkpoints, every weight settled."""

    name: str
    layers: list[LayerConfig]


@dataclass(frozen=True)
class Settings:
    """Options with every default settled; `check` refuses what does not fit together."""

    alpha: float
    confidence_decay: float
    soft_exit_enabled: bool
    calibration_steps: int
    calibration_window: int
    mode: str
    strict: bool
    adaptive_decay: bool
    scale_quantile: float | None
    routes: list[Route] = field(default_factory=list)

    @property
    def checkpoints(self) -> int:
        """Number of checkpoints, the same for every route."""
        return len(self.routes[0].layers)

    @property
    def soft(self) -> bool:
        """Whether exits are soft; the single-layer rule only knows hard ones."""
        return self.soft_exit_enabled and self.mode == "accumulate"

    def route_index(self, name: str) -> int:
        """Return the index of a route, or raise ValueError if there is none of that name."""
        names = [route.name for route in self.routes]
        if name not in names:
            known = ", ".join(names)
            raise ValueError(f'route "{name}" does not exist; this controller has {known}')
        return names.index(name)

    def check(self) -> None:
        """Raise ValueError for the first value that is wrong, targets excepted."""
        require(0 <= self.alpha <= 1, "alpha", self.alpha, "from 0 to 1")
        decay, window = self.confidence_decay, self.calibration_window
        require(0 <= decay <= 1, "confidence_decay", decay, "from 0 to 1")
        require(
            self.calibration_steps >= 1, "calibration_steps", self.calibration_steps, "at least 1"
        )
        expected = "at least calibration_steps and at most 16777216"
        inside = self.calibration_steps <= window <= 1 << 24
        require(inside, "calibration_window", window, expected)
        if self.scale_quantile is not None:
            quantile = self.scale_quantile
            require(0 < quantile <= 1, "scale_quantile", quantile, "above 0 and at most 1")
        expected = '"accumulate" or "single_layer"'
        require(self.mode in ("accumulate", "single_layer"), "mode", f'"{self.mode}"', expected)
        for route in self.routes:
            self._check_route(route)

    def _check_route(self, route: Route) -> None:
        if not route.layers:
            what = f'the list of layers of route "{route.name}"'
            raise ValueError(f"{what} is empty; give at least one LayerConfig")
        got, expected = len(route.layers), self.checkpoints
        require(got <= MAX_CHECKPOINTS, "number of layers", got, "at most 255")
        if got != expected:
            raise ValueError(
                f'route "{route.name}" has {got} layers where the default route has {expected}; '
                "give as many"
            )
        twice = sum(other.name == route.name for other in self.routes) > 1
        require(not twice, "routes", f'"{route.name}" twice', 'distinct names, none "default"')
        for before, after in zip(route.layers, route.layers[1:], strict=False):
            if after.layer_idx <= before.layer_idx:
                raise ValueError(
                    f"layer_idx {after.layer_idx} follows {before.layer_idx}; "
                    "list the layers in strictly increasing order"
                )

    def check_reachable(self) -> None:
        """Raise ValueError if full confidence everywhere does not get to some target."""
        for route in self.routes if self.mode == "accumulate" else ():
            reachable = np.float32(0)
            for layer in route.layers:
                reachable = np.float32(self.confidence_decay) * reachable + np.float32(layer.weight)
                # One step above is how calibration says that no token should exit here.
                if np.nextafter(reachable, np.float32(np.inf)) < np.float32(layer.initial_target):
                    raise ValueError(
                        f"layer {layer.layer_idx} can never exit: its confidence target is "
                        f"{layer.initial_target} but at most {reachable:.4f} can be reached; raise "
                        "the weights or the decay, or lower the target"
                    )

    def check_depth(self, depth: int) -> None:
        """Raise ValueError if a checkpoint lies beyond the model's last layer."""
        require(depth >= 1, "model_depth", depth, "at least 1")
        for layer in (layer for route in self.routes for layer in route.layers):
            if layer.layer_idx >= depth:
                raise ValueError(
                    f"layer_idx {layer.layer_idx} does not exist in a model of {depth} layers; "
                    f"use 0 to {depth - 1}"
                )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as the file holds them."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Settings":
        """Build settings from a file's content; TypeError or KeyError if it does not fit."""
        routes = [
            Route(name=route["name"], layers=[LayerConfig(**layer) for layer in route["layers"]])
            for route in data["routes"]
        ]
        return cls(**{**data, "routes": routes})


def decay_or_environment(decay: float | None) -> float:
    """Return the decay, or SEDAC_CONFIDENCE_DECAY, or 0.9."""
    if decay is not None:
        return float(decay)
    name, text = "SEDAC_CONFIDENCE_DECAY", os.environ.get("SEDAC_CONFIDENCE_DECAY", "0.9")

    def parse(text: str) -> float | None:
        value = float(text)
        return value if 0 <= value <= 1 else None

    return float(from_environment(name, text, "a number from 0 to 1", parse))


def soft_or_environment(soft: bool | None) -> bool:
    """Return the flag, or SEDAC_SOFT_EXIT, or True."""
    if soft is not None:
        return bool(soft)
    values = {"1": True, "true": True, "0": False, "false": False}
    name, text = "SEDAC_SOFT_EXIT", os.environ.get("SEDAC_SOFT_EXIT", "1")
    return bool(from_environment(name, text, "1 or 0", lambda text: values[text.strip().lower()]))


def environment_weights() -> list[float]:
    """Return SEDAC_LAYER_WEIGHTS, or 0.3, 0.4 and 0.3."""
    name, text = "SEDAC_LAYER_WEIGHTS", os.environ.get("SEDAC_LAYER_WEIGHTS", "0.3,0.4,0.3")

    def parse(text: str) -> list[float] | None:
        weights = [float(part) for part in text.split(",")]
        return weights if all(math.isfinite(w) and w >= 0 for w in weights) else None

    weights: list[float] = from_environment(
        name, text, "finite numbers >= 0, separated by commas", parse
    )
    return weights


def settle_weights(layers: list[LayerConfig]) -> list[LayerConfig]:
    """Give every layer without a weight its weight of the environment."""
    if all(layer.confidence_weight is not None for layer in layers):
        return layers
    weights = environment_weights()
    if len(weights) != len(layers):
        raise ValueError(
            f"SEDAC_LAYER_WEIGHTS (default 0.3,0.4,0.3) has {len(weights)} weights for "
            f"{len(layers)} layers; give one weight a layer"
        )
    return [
        replace(layer, confidence_weight=weight) if layer.confidence_weight is None else layer
        for layer, weight in zip(layers, weights, strict=True)
    ]
