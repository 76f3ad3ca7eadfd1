"""How well a policy does its tasks, in lock-step, on start states that it never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from salus_ros.bench.supervisor_statistics import rate_interval
from salus_ros.policy.backend import Backend
from salus_ros.policy.registry import make_backend
from salus_ros.sim.episode import EpisodeStatus
from salus_ros.sim.lockstep import Lockstep, LockstepConfig
from salus_ros.sim.lockstep_series import panda_limits
from salus_ros.sim.rig import Rig
from salus_ros.sim.tasks import TASKS, parse_instruction

EXECUTION_HORIZON = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """latency: seconds that an inference takes on the rig's clock. merging: of the policy node."""

    latency: float = 0.07
    merging: str = "temporal_ensemble"
    execution_horizon: int = EXECUTION_HORIZON
    disturbance: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One episode; right_block: whether the first block that was grasped is the wanted one.

    Where none was (and in a reach): whether the nearest to the tool at the end is. end: seconds.
    """

    instruction: str
    seed: int
    success: bool
    failure: str
    right_block: bool
    end: float
    interventions: Mapping[str, int]


def episodes_of(count: int, seed: int) -> list[tuple[str, int]]:
    """(instruction, seed) of `count` episodes per instruction, no two with the same seed."""
    total = count * len(TASKS)
    return [(TASKS[i % len(TASKS)].instruction, seed + i) for i in range(total)]


def evaluate(
    series: list[tuple[str, int]],
    policy: str,
    options: Mapping[str, Any],
    setting: Setting,
    on_episode: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Run all episodes. Raises ValueError for an unknown policy, option, merging or instruction."""
    return drive(series, make_backend(policy, options), setting, on_episode)


def drive(
    series: list[tuple[str, int]],
    backend: Backend,
    setting: Setting,
    on_episode: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Run all episodes with this policy."""
    rig = Rig()
    config = LockstepConfig(
        latency=setting.latency,
        cameras=backend.cameras,
        execution_horizon=setting.execution_horizon,
        merging=setting.merging,
    )
    lockstep = Lockstep(rig, backend, panda_limits(), config=config)
    results = []
    try:
        for instruction, seed in series:
            run = lockstep.run_episode(instruction, seed, setting.disturbance or None)
            results.append(result_of(run.status, seed, run.interventions))
            on_episode(results[-1])
    finally:
        rig.close()
    return results


def result_of(status: EpisodeStatus, seed: int, interventions: Mapping[str, int]) -> Result:
    """An episode that has ended; instruction: what the episode asks for, whatever was said."""
    return Result(
        status.instruction,
        seed,
        status.success,
        status.failure_type,
        status.chosen_block == parse_instruction(status.instruction).color,
        status.end,
        interventions,
    )


def summary(results: list[Result]) -> dict[str, Any]:
    """Rates in all and by instruction, each with its exact 95 % interval."""
    instructions = list(dict.fromkeys(r.instruction for r in results))
    by = {i: _rates([r for r in results if r.instruction == i]) for i in instructions}
    failures: dict[str, int] = {}
    for result in results:
        if not result.success:
            failures[result.failure] = failures.get(result.failure, 0) + 1
    interventions: dict[str, int] = {}
    for result in results:
        for reason, count in result.interventions.items():
            interventions[reason] = interventions.get(reason, 0) + count
    return {
        **_rates(results),
        "by_instruction": by,
        "failures": failures,
        "interventions": interventions,
        "mean_seconds_of_successes": round(
            float(np.mean([r.end for r in results if r.success] or [0.0])), 2
        ),
    }


def _rates(results: list[Result]) -> dict[str, Any]:
    count = len(results)
    content: dict[str, Any] = {"episodes": count}
    for name in ("success", "right_block"):
        hits = sum(getattr(r, name) for r in results)
        content[f"{name}_rate"] = round(hits / count, 4)
        content[f"{name}_interval"] = [round(x, 4) for x in rate_interval(hits, count)]
    return content


def to_json(setting: Setting, results: list[Result]) -> dict[str, Any]:
    """The setting and the summary."""
    return {"setting": asdict(setting), **summary(results)}
