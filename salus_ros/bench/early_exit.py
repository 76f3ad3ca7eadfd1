"""Early exit in the flow policy: action error, FLOPs, latency and task success of each setting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from salus_ros.bench import policy_study
from salus_ros.interfaces import FloatArray, JointState, Observation
from salus_ros.policy.backend import Prediction
from salus_ros.policy.early_exit.buckets import BUCKETS, NARROW
from salus_ros.policy.early_exit.cascade import ExitRule
from salus_ros.policy.early_exit.certificate import certificate, episode_errors
from salus_ros.policy.early_exit.files import EarlyExitParts, load_early_exit
from salus_ros.policy.early_exit.fitting import (
    CERTIFIED,
    STATISTICS,
    Splits,
    relative_errors,
    require_certified,
)
from salus_ros.policy.early_exit.flow_fit import flow_runner, recorded_splits
from salus_ros.policy.early_exit.flow_model import FlowRunner, install, make_narrow
from salus_ros.policy.early_exit.narrowing import METHODS
from salus_ros.policy.early_exit.observations import Recorded
from salus_ros.policy.early_exit.settings import ExitSetting
from salus_ros.policy.flow.backend import FlowBackend
from salus_ros.policy.flow.checkpoint import SHIPPED, WEIGHTS, load_checkpoint
from salus_ros.sim import lerobot_dataset as stored
from salus_ros.sim.tasks import TASKS
from salus_ros.sim.world import CAMERAS

FULL = "off"
TIMED = (
    FULL,
    "soft-4",
    CERTIFIED,
    "hard-0.2",
    "hard",
    "hard-0.7",
    "single_layer-0.2",
    "single_layer",
    "single_layer-0.7",
    "fixed-0.25",
    "fixed-0.5",
)
"""Settings whose latency is measured: making a policy of each takes seconds."""
WITH_SUCCESS = (FULL, CERTIFIED, "hard", "single_layer")
"""Settings that are driven in lock-step."""
METHOD_ROWS = 512
"""Observations that the methods are compared on."""
REPLICATES = 2000

Say = Callable[[str], None]


class Study:
    """One checkpoint with its early exit, on the data that it was fitted to.

    The splits are those of the fit, so that nothing is measured on what it was fitted on. Raises
    ValueError where checkpoint, early exit or data don't fit.
    """

    def __init__(self, weights: Path | None, data: Path, say: Say = lambda _: None) -> None:
        self._folder = weights or SHIPPED
        self._data = data
        self._say = say
        self.parts: EarlyExitParts = load_early_exit(self._folder, self._folder / WEIGHTS)
        require_certified(self.parts)
        checkpoint = load_checkpoint(self._folder)
        self._runner: FlowRunner = flow_runner(checkpoint)
        fitted = self.parts.fitted
        if fitted["data"] != data.name:
            raise ValueError(
                f"early exit was fitted to data set '{fitted['data']}', not to '{data.name}': "
                "give the same, its split keeps fitting and measuring apart"
            )
        say("observations")
        self._splits: Splits = recorded_splits(
            checkpoint, data, fitted["most_episodes"], fitted["per_episode"], fitted["seed"]
        )

    def errors(self) -> dict[str, dict[str, Any]]:
        """Action error, saving and exits of every setting, on the episodes of the certificate."""
        install(self._runner.network, self.parts.narrow)
        data = self._splits.certify
        full = self._runner.full(data.tokens)
        rows = {}
        for name, setting in self.parts.settings.items():
            self._say(f"action error: {name}")
            result = self._runner.with_rule(data.tokens, self._rule(setting))
            errors = relative_errors(result.chunks, full)
            by_episode = episode_errors(errors, data.episodes)
            rows[name] = {
                "kind": setting.kind,
                "mlp_flops": round(float(result.flops.mean())),
                "saving": 1.0 - float(result.flops.mean()) / self._runner.full_flops,
                "mean_error": float(errors.mean()),
                "p90_chunk_error": float(np.quantile(errors, 0.9)),
                "p90_episode_error": float(np.quantile(by_episode, 0.9)),
                "shares": {f"{b:g}": float((result.skips[:, -1] == b).mean()) for b in BUCKETS},
                "exit_layers": _counts(result.exit_layers),
                **asdict(certificate(by_episode)),
            }
        return rows

    def _rule(self, setting: ExitSetting) -> ExitRule:
        return ExitRule(self.parts.probes, setting, self._runner.config.layers)

    def methods(self) -> dict[str, dict[str, float]]:
        """Mean action error of each method where all after the first checkpoint skip a share."""
        runner, splits = self._runner, self._splits
        sample, tokens = splits.fit.tokens[:STATISTICS], splits.certify.tokens[:METHOD_ROWS]
        full, first = runner.full(tokens), min(self.parts.probes)
        found: dict[str, dict[str, float]] = {}
        for method in METHODS:
            self._say(f"method: {method}")
            install(
                runner.network, make_narrow(runner.network, method, lambda: runner.full(sample))
            )
            found[method] = {
                f"{skip:g}": float(
                    relative_errors(runner.from_layer(tokens, first, skip), full).mean()
                )
                for skip in NARROW
            }
        return found

    def latency(self, repeats: int, seed: int = 0) -> dict[str, dict[str, Any]]:
        """Seconds per chunk of every setting, interleaved in one process, on recorded observations.

        cpu: the thread's own time, which other processes don't lengthen. saved: by each chunk
        against the full model on the same observation, the mean with its bootstrap interval.
        """
        names = [name for name in TIMED if name == FULL or name in self.parts.settings]
        backends = {name: self._backend(name) for name in names}
        rng = np.random.default_rng([seed, 3])
        wall: dict[str, list[float]] = {name: [] for name in names}
        cpu: dict[str, list[float]] = {name: [] for name in names}
        self._say("latency")
        for observation in self._observations(repeats, rng):
            for name in rng.permutation(names):
                # Once unseen: a policy that drives finds its weights in the cache, too.
                backends[name].reset()
                backends[name].predict(observation)
                backends[name].reset()
                started, used = time.perf_counter(), time.thread_time()
                backends[name].predict(observation)
                cpu[name].append(time.thread_time() - used)
                wall[name].append(time.perf_counter() - started)
        return {name: _latencies(name, wall, cpu, rng) for name in names}

    def _backend(self, name: str) -> FlowBackend:
        backend = FlowBackend(checkpoint=str(self._folder), early_exit=name, device="cpu")
        backend.warm_up()
        return backend

    def _observations(self, count: int, rng: np.random.Generator) -> list[Observation]:
        files = stored.data_files(self._data)[: stored.complete_files(self._data)]
        table = pq.read_table(files[int(rng.integers(len(files)))])
        rows = table.take(rng.integers(len(table), size=count)).to_pylist()
        return [_observation(row) for row in rows]

    def success(self, episodes: int, seed: int) -> dict[str, dict[str, Any]]:
        """Task success in lock-step on the same start states; episodes: per instruction.

        on_policy: the action error against the full model on what each setting saw as it drove.
        """
        series = policy_study.episodes_of(episodes, seed)
        found = {}
        for name in WITH_SUCCESS:
            self._say(f"task success: {name}")
            seen = _Seen(self._backend(name))
            results = policy_study.drive(series, seen, policy_study.Setting(), seen.end_episode)
            found[name] = policy_study.summary(results)
            if name != FULL:
                found[name]["on_policy"] = self._error_on(seen.recorded(), name)
        return found

    def _error_on(self, data: Recorded, name: str) -> dict[str, Any]:
        install(self._runner.network, self.parts.narrow)
        result = self._runner.with_rule(data.tokens, self._rule(self.parts.settings[name]))
        errors = relative_errors(result.chunks, self._runner.full(data.tokens))
        return {
            "chunks": len(errors),
            "saving": 1.0 - float(result.flops.mean()) / self._runner.full_flops,
            "mean_error": float(errors.mean()),
            **asdict(certificate(episode_errors(errors, data.episodes))),
        }


class _Seen:
    """A flow policy that keeps the prefix tokens of each chunk that it drives with, by episode."""

    def __init__(self, backend: FlowBackend) -> None:
        self._backend = backend
        self.cameras, self.privileged = backend.cameras, backend.privileged
        self._tokens: list[Tensor] = []
        self._episodes: list[int] = []
        self._episode = 0
        self._driving = False
        backend.network.layers[0].register_forward_pre_hook(self._keep)

    def warm_up(self) -> None:
        """The policy's; nothing is kept of it."""
        self._backend.warm_up()

    def reset(self) -> None:
        """The policy's."""
        self._backend.reset()

    def predict(self, observation: Observation) -> Prediction:
        """The policy's."""
        self._driving = True
        try:
            return self._backend.predict(observation)
        finally:
            self._driving = False

    def _keep(self, _layer: object, inputs: tuple[Tensor, ...]) -> None:
        if self._driving:
            self._tokens.append(inputs[0].detach().clone())
            self._episodes.append(self._episode)

    def end_episode(self, _result: object) -> None:
        """What comes next is of another episode."""
        self._episode += 1

    def recorded(self) -> Recorded:
        """All of it."""
        return Recorded(torch.cat(self._tokens), np.array(self._episodes))


def verdict(
    errors: dict[str, Any], latency: dict[str, Any], success: dict[str, Any]
) -> dict[str, Any]:
    """What was to be shown, each yes or no, as far as it was measured."""
    found = {}
    if errors:
        chosen = errors[CERTIFIED]
        found = {
            "saves_a_quarter_of_mlp_flops": chosen["saving"] >= 0.25,
            "certified": bool(chosen["passes"]),
            "latency_lower": latency[CERTIFIED]["cpu_saved_interval"][0] > 0.0,
        }
        for name in ("single_layer", "hard"):
            lower = chosen["mean_error"] < errors[name]["mean_error"]
            found[f"error_below_{name}_at_equal_saving"] = lower
    if success:
        low, high = success[FULL]["success_interval"]
        found["success_within_full_interval"] = low <= success[CERTIFIED]["success_rate"] <= high
        found["certified_on_policy"] = bool(success[CERTIFIED]["on_policy"]["passes"])
    return found


def _counts(layers: Any) -> dict[str, int]:
    values, counts = np.unique(layers, return_counts=True)
    return {str(v): int(c) for v, c in zip(values, counts, strict=True)}


def _latencies(
    name: str,
    wall: dict[str, list[float]],
    cpu: dict[str, list[float]],
    rng: np.random.Generator,
) -> dict[str, Any]:
    saved = np.array(cpu[FULL]) - np.array(cpu[name])
    return {
        "wall_p50": float(np.median(wall[name])),
        "wall_p99": float(np.quantile(wall[name], 0.99)),
        "cpu_p50": float(np.median(cpu[name])),
        "cpu_mean": float(np.mean(cpu[name])),
        "cpu_saved": float(saved.mean()),
        "cpu_saved_interval": _bootstrap(saved, rng),
        "wall_saved_interval": _bootstrap(np.array(wall[FULL]) - np.array(wall[name]), rng),
        "chunks": len(saved),
    }


def _bootstrap(values: FloatArray, rng: np.random.Generator) -> list[float]:
    """95 % interval of the mean."""
    drawn = rng.choice(values, (REPLICATES, len(values))).mean(1)
    return [float(x) for x in np.quantile(drawn, [0.025, 0.975])]


def _observation(row: dict[str, Any]) -> Observation:
    measured = np.array(row["observation.state"], np.float64).reshape(3, -1)[2]
    still = np.zeros(len(measured) - 1)
    joints = JointState(0, measured[:-1], still, still, float(measured[-1]))
    images = {camera: stored.decode(row[f"observation.images.{camera}"]) for camera in CAMERAS}
    return Observation(0, joints, TASKS[row["task_index"]].instruction, images)
