"""Speed of the early-exit core against numpy and against a plain Python loop, in one run.

The three are timed in turn, round by round, so that a machine that slows down slows all of them;
what counts are ratios of medians. numpy means `sedac_core.fallback`: vectorised, preallocated, in
place, and single-threaded. The compiled core uses one thread at every size below its own bound.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedac_core import _core, fallback

BATCHES = (1, 64, 1024, 8192, 65536)
NUMPY_GOAL = 3.0
PYTHON_GOAL = 100.0
PYTHON_GOAL_FROM = 1024
STEP_GOAL_US = 2.0

# Seconds that one timing should last at least: long against the clock's resolution.
LEAST_TIMING = 0.004


@dataclass(frozen=True)
class SizeResult:
    """Median microseconds of one evaluation of three layers, and how often the core fits in."""

    batch: int
    core_us: float
    numpy_us: float
    python_us: float
    times_numpy: float
    times_python: float
    meets_goals: bool


@dataclass(frozen=True)
class StepResult:
    """Median microseconds of one streaming step, `out` given, called from Python."""

    batch: int
    core_us: float
    numpy_us: float
    meets_goals: bool


@dataclass(frozen=True)
class SpeedResult:
    """All that the benchmark measured."""

    evaluate: list[SizeResult]
    step: list[StepResult]

    def to_json(self) -> dict[str, Any]:
        """Return the result for a file."""
        goals = {
            "times_numpy": NUMPY_GOAL,
            "times_python": PYTHON_GOAL,
            "times_python_from_batch": PYTHON_GOAL_FROM,
            "step_us_at_batch_1": STEP_GOAL_US,
        }
        return {"goals": goals, **asdict(self)}


def plain_loop(risk: list[list[float]]) -> list[tuple[bool, int, float, float]]:
    """Decide token by token in plain Python, with the default layers: what numpy replaces."""
    layers = ((7, 0.8, 0.3, 0.2), (14, 1.0, 0.4, 0.5), (21, 1.2, 0.3, 0.8))
    decisions = []
    for risks in zip(*risk, strict=True):
        accumulated, best, exit_layer = 0.0, 0.0, -1
        for value, (layer, threshold, weight, target) in zip(risks, layers, strict=True):
            confidence = min(max((threshold - value) / threshold, 0.0), 1.0)
            accumulated = 0.9 * accumulated + weight * confidence
            if exit_layer < 0 and accumulated >= target:
                exit_layer = layer
            if exit_layer >= 0 and accumulated > best:
                best = accumulated
        if exit_layer >= 0:
            decisions.append((True, exit_layer, best, 0.5 * math.tanh(2 * best - 1) + 0.5))
        else:
            decisions.append((False, -1, accumulated, 0.0))
    return decisions


def risks(batch: int) -> NDArray[np.float32]:
    """Risks of three layers for which tokens exit at each of them and at none."""
    return np.random.default_rng(0).uniform(0, 1.2, (3, batch)).astype(np.float32)


def measure(rounds: int = 15) -> Iterator[SizeResult | StepResult]:
    """Yield each result as it is ready."""
    for batch in BATCHES:
        yield _measure_evaluation(batch, rounds)
    for batch in BATCHES:
        yield _measure_step(batch, rounds)


def collect(results: list[SizeResult | StepResult]) -> SpeedResult:
    """Return the results in order of their kind."""
    return SpeedResult(
        [result for result in results if isinstance(result, SizeResult)],
        [result for result in results if isinstance(result, StepResult)],
    )


def _measure_evaluation(batch: int, rounds: int) -> SizeResult:
    risk = risks(batch)
    rows = risk.tolist()
    calls: dict[str, Callable[[], object]] = {"python": lambda: plain_loop(rows)}
    for name, module in (("core", _core), ("numpy", fallback)):
        controller, out = module.CascadeController(), module.ExitArrays(batch)
        calls[name] = _evaluation(controller, risk, out)
    us = _medians(calls, rounds)
    times_numpy, times_python = us["numpy"] / us["core"], us["python"] / us["core"]
    python_goal = PYTHON_GOAL if batch >= PYTHON_GOAL_FROM else 0.0
    meets = times_numpy >= NUMPY_GOAL and times_python >= python_goal
    return SizeResult(
        batch, us["core"], us["numpy"], us["python"], times_numpy, times_python, meets
    )


def _evaluation(controller: Any, risk: NDArray[np.float32], out: Any) -> Callable[[], object]:
    return lambda: controller.evaluate(risk, out=out)


def _measure_step(batch: int, rounds: int) -> StepResult:
    risk = risks(batch)
    calls = {
        name: _three_steps(module.CascadeController().begin(batch), risk)
        for name, module in (("core", _core), ("numpy", fallback))
    }
    # Three steps and a reset a call: a third of it is an upper bound of a step.
    us = {name: value / 3 for name, value in _medians(calls, rounds).items()}
    meets = us["core"] < STEP_GOAL_US if batch == 1 else us["numpy"] / us["core"] >= NUMPY_GOAL
    return StepResult(batch, us["core"], us["numpy"], meets)


def _three_steps(run: Any, risk: NDArray[np.float32]) -> Callable[[], object]:
    first, second, third = risk
    ratio = np.empty(len(first), np.float32)

    def call() -> None:
        run.step(0, first, ratio)
        run.step(1, second, ratio)
        run.step(2, third, ratio)
        run.reset()

    return call


def _medians(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median microseconds of each call, timed in turn."""
    repeats = {name: _repeats(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_time(call, repeats[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def _repeats(call: Callable[[], object]) -> int:
    repeats = 1
    while _time(call, repeats) * repeats < LEAST_TIMING * 1e6:
        repeats *= 2
    return repeats


def _time(call: Callable[[], object], repeats: int) -> float:
    """Return the microseconds of one call, over `repeats` of them."""
    start = time.perf_counter_ns()
    for _ in range(repeats):
        call()
    return (time.perf_counter_ns() - start) / repeats / 1000
