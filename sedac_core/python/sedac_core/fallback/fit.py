"""Learning the weights from recorded risks: the algorithm of the compiled core, in numpy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedac_core.fallback import checks
from sedac_core.fallback.calibration import confidence, solve_targets
from sedac_core.fallback.config import (
    LayerConfig,
    Route,
    Settings,
    decay_or_environment,
    default_layers,
    settle_weights,
)

LEAST_SHARE = 0.01
RIDGE = 1e-6

Floats = NDArray[np.float32]
Wide = NDArray[np.float64]


@dataclass(frozen=True)
class WeightFit:
    """What fit_weights found.

    weights: one a checkpoint; their sum is that of the given weights.
    confidence_decay: the decay that goes with them.
    layer_configs: the given ones with these weights, and with confidence targets at which the
        samples exit at the target exit rates.
    log_loss: mean logistic loss of predicting right exits with these weights, in nats.
    log_loss_before: the same with the given weights and decay.
    """

    weights: list[float]
    confidence_decay: float
    layer_configs: list[LayerConfig]
    log_loss: float
    log_loss_before: float


def solve_confidence_targets(
    risk: Floats,
    layer_configs: Sequence[LayerConfig] | None = None,
    confidence_decay: float | None = None,
) -> list[float]:
    """Return the targets at which the share that has exited up to each checkpoint is its rate.

    At the initial thresholds of layer_configs. risk: float32[num_layers, n], finite and >= 0,
    n >= 1. A confidence_target in layer_configs is kept. ValueError for bad input.
    """
    layers, decay = _offline_settings(layer_configs, confidence_decay)
    return _solve(_recorded_risk(risk, layers), layers, decay)


def fit_weights(
    risk: Floats,
    exit_right: NDArray[np.bool_],
    layer_configs: Sequence[LayerConfig] | None = None,
    confidence_decay: float | None = None,
    fit_decay: bool = False,
) -> WeightFit:
    """Learn the weights, and if asked the decay, from recorded risks.

    risk: float32[num_layers, n], finite and >= 0, n >= 1.
    exit_right: bool[num_layers, n]: whether exiting at this checkpoint would have been right.
    layer_configs, confidence_decay: the starting point, as for CascadeController.
    fit_decay: also choose the decay, among 0, 0.05, ..., 1.

    ValueError for bad input, or if confidence says nothing about right exits.
    """
    layers, decay = _offline_settings(layer_configs, confidence_decay)
    risk = _recorded_risk(risk, layers)
    right = checks.rows("exit_right", exit_right, len(layers), np.bool_)
    if right.shape != risk.shape:
        raise ValueError(f"exit_right has shape {right.shape}; it must have shape {risk.shape}")
    conf = np.stack([confidence(c.initial_threshold, r) for c, r in zip(layers, risk, strict=True)])
    given = np.array([layer.weight for layer in layers])
    before = _Problem(_features(conf, decay) @ given[:, None], right).solve()
    decays = [i / 20 for i in range(21)] if fit_decay else [decay]
    fits = [(d, *_Problem(_features(conf, d), right).solve()) for d in decays]
    decay, raw, loss = min(fits, key=lambda fit: fit[2])
    weights = _scaled(raw, float(given.sum()))
    learned = [
        replace(layer, confidence_weight=w, confidence_target=None)
        for layer, w in zip(layers, weights, strict=True)
    ]
    targets = _solve(risk, learned, decay)
    configs = [replace(c, confidence_target=t) for c, t in zip(learned, targets, strict=True)]
    return WeightFit(weights, decay, configs, loss, before[1])


def _offline_settings(
    layer_configs: Sequence[LayerConfig] | None, decay: float | None
) -> tuple[list[LayerConfig], float]:
    layers = settle_weights(default_layers() if layer_configs is None else list(layer_configs))
    settings = Settings(
        alpha=0.1,
        confidence_decay=decay_or_environment(decay),
        soft_exit_enabled=True,
        calibration_steps=50,
        calibration_window=2048,
        mode="accumulate",
        strict=True,
        adaptive_decay=False,
        scale_quantile=None,
        routes=[Route("default", layers)],
    )
    settings.check()
    return layers, settings.confidence_decay


def _recorded_risk(risk: Floats, layers: Sequence[LayerConfig]) -> Floats:
    rows: Floats = checks.rows("risk", risk, len(layers))
    checks.require(rows.size > 0, "risk", "empty", "at least one token")
    checks.refuse_risk(rows, checks.invalid_risks(rows))
    return rows


def _solve(risk: Floats, layers: Sequence[LayerConfig], decay: float) -> list[float]:
    thresholds = [layer.initial_threshold for layer in layers]
    rates = [layer.target_exit_rate for layer in layers]
    return solve_targets(risk, layers, thresholds, rates, decay)


def _scaled(raw: Wide, total: float) -> list[float]:
    if raw.sum() <= 1e-9:
        expected = "right more often where the risk is lower"
        raise ValueError(f"exit_right is unrelated to the risk; it must be {expected}")
    floored = np.maximum(raw / raw.sum(), LEAST_SHARE)
    return [float(value) for value in floored / floored.sum() * total]


def _features(conf: NDArray[Any], decay: float) -> Wide:
    """Return one row a checkpoint and token: each confidence, decayed to that checkpoint."""
    layers, tokens = conf.shape
    rows = np.zeros((layers, tokens, layers))
    for i in range(layers):
        for k in range(i + 1):
            rows[i, :, k] = decay ** (i - k) * conf[k]
    return rows.reshape(layers * tokens, layers)


class _Problem:
    """A logistic regression: coefficients >= 0, then one free intercept a checkpoint."""

    def __init__(self, features: Wide, right: NDArray[np.bool_]) -> None:
        layers, tokens = right.shape
        self.weights = features.shape[1]
        self.rows = np.hstack([features, np.repeat(np.eye(layers), tokens, axis=0)])
        self.right = right.ravel().astype(np.float64)

    def solve(self) -> tuple[Wide, float]:
        """Return the coefficients and the loss, by Newton's method with held coordinates."""
        x: Wide = np.zeros(self.rows.shape[1])
        loss = self.loss(x)
        for _ in range(50):
            gradient, hessian = self.derivatives(x)
            held = (np.arange(len(x)) < self.weights) & (x <= 0) & (gradient > 0)
            free = ~held
            direction: Wide = np.zeros_like(x)
            direction[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
            x, next_loss = self.line_search(x, loss, direction)
            gained, loss = loss - next_loss, next_loss
            if gained < 1e-13:
                break
        return x[: self.weights], loss

    def line_search(self, x: Wide, loss: float, direction: Wide) -> tuple[Wide, float]:
        """Halve the step until the loss falls."""
        step = 1.0
        for _ in range(30):
            moved = x - step * direction
            moved[: self.weights] = np.maximum(moved[: self.weights], 0)
            next_loss = self.loss(moved)
            if next_loss <= loss:
                return moved, next_loss
            step *= 0.5
        return x, loss

    def loss(self, x: Wide) -> float:
        """Return the mean logistic loss with its ridge."""
        margin = self.rows @ x
        losses = np.logaddexp(0, np.where(self.right > 0, -margin, margin))
        return float(losses.mean() + 0.5 * RIDGE * (x @ x))

    def derivatives(self, x: Wide) -> tuple[Wide, Wide]:
        """Return gradient and Hessian of the loss."""
        p = 1 / (1 + np.exp(-(self.rows @ x)))
        count = len(p)
        gradient = self.rows.T @ (p - self.right) / count + RIDGE * x
        hessian = (self.rows.T * (p * (1 - p))) @ self.rows / count + RIDGE * np.eye(len(x))
        return gradient, hessian
