"""The controller: evaluations read a snapshot, updates publish the next one under a lock."""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedac_core.fallback import checks
from sedac_core.fallback.calibration import RouteState, Window, updated
from sedac_core.fallback.config import (
    DEFAULT_ROUTE,
    LayerConfig,
    Route,
    Settings,
    decay_or_environment,
    default_layers,
    settle_weights,
    soft_or_environment,
)
from sedac_core.fallback.decisions import ExitArrays, ExitDecision, as_decisions, given_or_new
from sedac_core.fallback.rule import Tokens
from sedac_core.fallback.run import CascadeRun
from sedac_core.fallback.snapshot import Outcomes, Snapshot

VERSION = 1

Floats = NDArray[np.float32]
Routes = Sequence[str] | Sequence[int] | NDArray[Any]


class CascadeController:
    """Decides exits for batches of tokens. Any number of threads may share one.

    layer_configs: the checkpoints; None: layers 7, 14 and 21 with exit rates 0.2, 0.5 and 0.8.
    alpha: step of the thresholds' moving average after calibration, in [0, 1].
    confidence_decay: decay between checkpoints, in [0, 1]; None reads SEDAC_CONFIDENCE_DECAY.
    soft_exit_enabled: skip a share of the work at an exit (True) or all of it (False); None reads
        SEDAC_SOFT_EXIT.
    calibration_steps: finite samples needed of every checkpoint before thresholds are set.
    mode: "accumulate", or "single_layer", the older rule: hard exit at the first r < threshold.
    routes: further groups of tokens by name, each with as many LayerConfigs as layer_configs.
    strict: refuse a negative or non-finite risk (True), or count it and treat it as not confident.
    adaptive_decay: let the decay follow each step's uncertainty and recent right exits.
    calibration_window: samples kept a checkpoint for solving the confidence targets.
    scale_quantile: quantile of the samples that sets the thresholds, in (0, 1]; None: each layer's
        target exit rate.
    model_depth: number of layers of the model, to check layer_idx against.

    ValueError names the first value that is wrong.
    """

    def __init__(
        self,
        layer_configs: Sequence[LayerConfig] | None = None,
        alpha: float = 0.1,
        confidence_decay: float | None = None,
        soft_exit_enabled: bool | None = None,
        calibration_steps: int = 50,
        mode: str = "accumulate",
        *,
        routes: Mapping[str, Sequence[LayerConfig]] | None = None,
        strict: bool = True,
        adaptive_decay: bool = False,
        calibration_window: int = 2048,
        scale_quantile: float | None = None,
        model_depth: int | None = None,
    ) -> None:
        layers = default_layers() if layer_configs is None else list(layer_configs)
        named = [(DEFAULT_ROUTE, layers), *(routes or {}).items()]
        settings = Settings(
            alpha=alpha,
            confidence_decay=decay_or_environment(confidence_decay),
            soft_exit_enabled=soft_or_environment(soft_exit_enabled),
            calibration_steps=calibration_steps,
            calibration_window=calibration_window,
            mode=mode,
            strict=strict,
            adaptive_decay=adaptive_decay,
            scale_quantile=scale_quantile,
            routes=[Route(name, settle_weights(list(layers))) for name, layers in named],
        )
        settings.check()
        if model_depth is not None:
            settings.check_depth(model_depth)
        settings.check_reachable()
        self._lock = threading.Lock()
        self._memory = threading.local()
        self._outcomes = Outcomes()
        self._windows = _empty_windows(settings)
        self._snapshot = Snapshot.initial(settings)

    def evaluate_batch(
        self,
        risk: Floats,
        routes: Routes | None = None,
        uncertainty: Sequence[float] | None = None,
    ) -> list[ExitDecision]:
        """Decide for a batch and return one ExitDecision a token: the convenient form."""
        return as_decisions(self.evaluate(risk, routes, uncertainty))

    def evaluate(
        self,
        risk: Floats,
        routes: Routes | None = None,
        uncertainty: Sequence[float] | None = None,
        out: ExitArrays | None = None,
    ) -> ExitArrays:
        """Decide for a batch and return four arrays: the fast form.

        risk: float32[num_layers, batch], finite and >= 0; one row a checkpoint.
        routes: the route of each token, by name or by index into route_names; None: default.
        uncertainty: one value in [0, 1] a checkpoint; only with adaptive_decay.
        out: ExitArrays of this batch to write to and return.

        ValueError for bad input, IndexError for a route index that does not exist; then neither
        the controller nor out has changed.
        """
        snapshot = self._snapshot
        settings = snapshot.settings
        risk = checks.rows("risk", risk, settings.checkpoints)
        batch = risk.shape[1]
        indices = _route_indices(snapshot, batch, routes)
        out = given_or_new(out, batch)
        steps = checks.uncertainties(uncertainty, settings.checkpoints, settings.adaptive_decay)
        for array in out:
            checks.apart("out", array, risk)
        invalid = None if checks.is_clean(risk) else checks.invalid_risks(risk)
        if invalid is not None and settings.strict:
            checks.refuse_risk(risk, invalid)
        bonus, plan, tokens = self._outcomes.bonus(), snapshot.plan(indices), self._tokens(batch)
        with np.errstate(all="ignore"):
            for i, checkpoint in enumerate(plan):
                decay = snapshot.decay(steps[i], bonus)
                tokens.step(checkpoint, decay, risk[i], None if invalid is None else invalid[i])
        tokens.conclude(settings.soft, snapshot.layers(plan), out)
        ignored = 0 if invalid is None else int(invalid.sum())
        snapshot.stats.record_call(out.exit_layer, ignored, tokens.flags)
        return out

    def _tokens(self, batch: int) -> Tokens:
        """Return this thread's memory for a batch size, cleared."""
        if getattr(self._memory, "batch", None) != batch:
            self._memory.batch, self._memory.tokens = batch, Tokens(batch)
        tokens: Tokens = self._memory.tokens
        tokens.clear()
        return tokens

    def begin(self, batch: int, routes: Routes | None = None) -> CascadeRun:
        """Start a run over a batch that is fed checkpoint by checkpoint.

        routes: the route of each token, by name or by index into route_names; None: default.
        """
        checks.require(batch >= 0, "batch", batch, "at least 0")
        return CascadeRun(self, batch, _route_indices(self._snapshot, batch, routes))

    def update_threshold(
        self, checkpoint: int, samples: Floats, route: str = DEFAULT_ROUTE
    ) -> float:
        """Take samples of one checkpoint and return its threshold afterwards.

        samples: float32[n]; the n-th sample of each checkpoint must be of the same token. Samples
        that are not finite are counted and left out. Threads that sample concurrently use
        update_thresholds, which keeps tokens together.
        IndexError for a checkpoint that does not exist, ValueError for bad samples or an unknown
        route; then nothing has changed.
        """
        samples = checks.array("samples", samples, "(n,)", 1)
        with self._lock:
            checks.checkpoint_index(checkpoint, self._snapshot.settings.checkpoints)
            return self._publish(route, samples[None], checkpoint)[checkpoint]

    def update_thresholds(self, risk: Floats, route: str = DEFAULT_ROUTE) -> list[float]:
        """Take samples of every checkpoint, of the same tokens, in one atomic step.

        risk: float32[num_layers, n]. Returns the thresholds afterwards.
        """
        with self._lock:
            rows = checks.rows("risk", risk, self._snapshot.settings.checkpoints)
            return self._publish(route, rows, 0)

    def _publish(self, route: str, rows: Floats, first: int) -> list[float]:
        """Take rows of samples from checkpoint `first` on; the caller holds the lock."""
        current = self._snapshot
        settings, index = current.settings, current.settings.route_index(route)
        invalid = checks.invalid_risks(rows)
        if settings.strict:
            checks.refuse_risk(rows, invalid & np.isfinite(rows), first)
        usable = np.where(invalid, np.float32(np.nan), rows)
        windows, state = self._windows[index], current.states[index]
        for checkpoint, samples in enumerate(usable, first):
            windows[checkpoint].push(samples, settings.calibration_window)
        was_calibrated = state.calibrated
        for checkpoint, samples in enumerate(usable, first):
            state = updated(settings, index, state, windows, checkpoint, samples)
            if state.calibrated != was_calibrated:
                # The warm-up has just ended; it used every row's samples.
                break
        current.stats.record_ignored(int(invalid.sum()))
        self._snapshot = current.with_state(index, state)
        return list(state.thresholds)

    def record_outcomes(self, right: Sequence[bool]) -> None:
        """Record whether exits turned out right, in order, for the bonus of adaptive decay."""
        self._outcomes.record([bool(value) for value in right])

    def reset_calibration(self) -> None:
        """Back to the thresholds and targets before calibration, for every route."""
        with self._lock:
            current = self._snapshot
            states = [RouteState.initial(route) for route in current.settings.routes]
            self._windows = _empty_windows(current.settings)
            self._snapshot = Snapshot(current.settings, states, current.stats)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write settings, thresholds and targets to a JSON file (whole or not at all)."""
        snapshot, target = self._snapshot, Path(path)
        content = {
            "version": VERSION,
            "settings": snapshot.settings.to_json(),
            "states": [state.to_json() for state in snapshot.states],
        }
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            part.replace(target)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take over the controller saved in a file.

        Sample windows, outcomes and counters start afresh; runs that have begun keep what they
        began with. OSError if it cannot be read, ValueError if it is of another version or no such
        file; then nothing has changed.
        """
        settings, states = _read(Path(path))
        with self._lock:
            self._windows = _empty_windows(settings)
            self._outcomes.clear()
            fresh = Snapshot.initial(settings)
            self._snapshot = Snapshot(settings, states, fresh.stats)

    def route_state(self, route: str) -> dict[str, Any]:
        """Return thresholds, confidence targets and whether it is calibrated, of one route."""
        snapshot = self._snapshot
        state = snapshot.states[snapshot.settings.route_index(route)]
        return {
            "thresholds": list(state.thresholds),
            "confidence_targets": list(state.confidence_targets),
            "calibrated": state.calibrated,
        }

    @property
    def thresholds(self) -> list[float]:
        """Threshold of each checkpoint of the default route, in units of risk."""
        return list(self._snapshot.states[0].thresholds)

    @property
    def confidence_targets(self) -> list[float]:
        """Confidence that triggers the exit at each checkpoint of the default route."""
        return list(self._snapshot.states[0].confidence_targets)

    @property
    def is_calibrated(self) -> bool:
        """Whether the warm-up of the default route is over."""
        return self._snapshot.states[0].calibrated

    @property
    def stats(self) -> dict[str, Any]:
        """Counters: calls, tokens, exits_per_layer (by layer_idx), ignored_samples."""
        return self._snapshot.stats.counts()

    @property
    def layer_configs(self) -> list[LayerConfig]:
        """The checkpoints of the default route, with the weights that hold."""
        return list(self._snapshot.settings.routes[0].layers)

    @property
    def route_names(self) -> list[str]:
        """Names of the routes; the first is "default"."""
        return [route.name for route in self._snapshot.settings.routes]

    @property
    def alpha(self) -> float:
        """Step of the thresholds' moving average."""
        return self._snapshot.settings.alpha

    @property
    def confidence_decay(self) -> float:
        """Decay of the accumulated confidence between checkpoints."""
        return self._snapshot.settings.confidence_decay

    @property
    def soft_exit_enabled(self) -> bool:
        """Whether an exit skips a share of the work rather than all of it."""
        return self._snapshot.settings.soft_exit_enabled

    @property
    def calibration_steps(self) -> int:
        """Finite samples needed of every checkpoint before thresholds are set."""
        return self._snapshot.settings.calibration_steps

    @property
    def mode(self) -> str:
        """The exit rule: "accumulate" or "single_layer"."""
        return self._snapshot.settings.mode

    @property
    def strict(self) -> bool:
        """Whether a negative or non-finite risk is refused."""
        return self._snapshot.settings.strict


def _empty_windows(settings: Settings) -> list[list[Window]]:
    return [[Window() for _ in route.layers] for route in settings.routes]


def _route_indices(
    snapshot: Snapshot, batch: int, routes: Routes | None
) -> NDArray[np.intp] | None:
    if routes is None:
        return None
    indices = np.array(
        [snapshot.settings.route_index(r) if isinstance(r, str) else int(r) for r in routes],
        np.intp,
    )
    if len(indices) != batch:
        raise ValueError(f"routes has shape {indices.shape}; it must have shape ({batch},)")
    snapshot.check_routes(indices)
    return indices


def _read(path: Path) -> tuple[Settings, list[RouteState]]:
    """Read a saved controller, or raise ValueError saying what is wrong with the file."""
    problem = f"{path} is not a saved SEDAC controller"
    text = path.read_bytes()
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{problem}: {error}") from None
    found = data.get("version") if isinstance(data, dict) else None
    if type(found) is not int or found != VERSION:
        found = "none" if found is None else json.dumps(found)
        raise ValueError(f"{path} is of version {found}; this sedac_core reads version {VERSION}")
    try:
        settings = Settings.from_json(data["settings"])
        states = [RouteState(**state) for state in data["states"]]
        settings.check()
        settings.check_reachable()
        _check_states(settings, states)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(f"{problem}: {error}") from None
    return settings, states


def _check_states(settings: Settings, states: list[RouteState]) -> None:
    if len(states) != len(settings.routes):
        raise ValueError(f"{len(states)} states for {len(settings.routes)} routes")
    if any(layer.confidence_weight is None for route in settings.routes for layer in route.layers):
        raise ValueError("a layer has no confidence_weight")
    for name, values in (
        (name, getattr(state, name))
        for state in states
        for name in ("thresholds", "confidence_targets")
    ):
        if len(values) != settings.checkpoints:
            raise ValueError(f"{len(values)} {name} for {settings.checkpoints} checkpoints")
        for value in values:
            if not checks.FLOAT32_TINY <= value <= checks.FLOAT32_MAX:
                raise ValueError(f"{name} holds {value}; they must be finite and above 0")
