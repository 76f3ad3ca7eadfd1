"""Does acting on predictions help? The same episodes with and without, in lock-step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salus_ros.bench.supervisor_statistics import rate_interval
from salus_ros.interfaces import FloatArray
from salus_ros.prediction.layout import FAILURE_TYPES
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.sim.lockstep import EpisodeRun, Lockstep
from salus_ros.sim.lockstep_series import panda_limits, sim_calibration
from salus_ros.sim.rig import Rig, RigConfig
from salus_ros.sim.rollout_plan import PlannedEpisode
from salus_ros.sim.running_policy import sim_policy

REPLICATES = 2000
OUTCOMES = ("success", *FAILURE_TYPES)
BY_PREDICTION = ("failure_likely", "failure_near", "collision_near", "prediction_alarm")


@dataclass(frozen=True, slots=True)
class Pair:
    """One start state, run without and with gating."""

    planned: PlannedEpisode
    off: EpisodeRun
    on: EpisodeRun


def run_pairs(
    planned: Sequence[PlannedEpisode],
    policy: str,
    options: Mapping[str, Any],
    predictor: FailurePredictor,
    on_episode: Callable[[], None] = lambda: None,
    rig_config: RigConfig | None = None,
) -> list[Pair]:
    """Run each episode twice, from the same seed and under the same disturbance.

    Until the first time that the gate acts on a prediction, both are the same to the bit.
    """
    running = sim_policy(policy, options)
    backend, rig = running.make(), Rig(rig_config)

    def runner(gating: FailurePredictor | None) -> Lockstep:
        config = running.lockstep(backend.cameras)
        calibration = sim_calibration()
        return Lockstep(
            rig, backend, panda_limits(), config=config, calibration=calibration, predictor=gating
        )

    without, with_gating = runner(None), runner(predictor)
    pairs = []
    try:
        for episode in planned:
            told = episode.instruction, episode.seed, episode.disturbance
            pairs.append(Pair(episode, without.run_episode(*told), with_gating.run_episode(*told)))
            on_episode()
    finally:
        rig.close()
    return pairs


def compare(pairs: Sequence[Pair], seed: int = 0) -> dict[str, Any]:
    """Outcomes of both, their differences, time of successes, and what the gate did."""
    groups = {
        "all": list(pairs),
        "undisturbed": [p for p in pairs if p.planned.disturbance is None],
        "disturbed": [p for p in pairs if p.planned.disturbance is not None],
    }
    content = {name: _compared(group, seed) for name, group in groups.items() if group}
    acted: Counter[str] = Counter()
    for pair in pairs:
        acted.update({r: n for r, n in pair.on.interventions.items() if r in BY_PREDICTION})
    return {"groups": content, "interventions": dict(acted)}


def _compared(pairs: Sequence[Pair], seed: int) -> dict[str, Any]:
    content: dict[str, Any] = {"episodes": len(pairs)}
    for outcome in OUTCOMES:
        off, on = (
            np.array([_has(run, outcome) for run in runs], np.float64)
            for runs in ([p.off for p in pairs], [p.on for p in pairs])
        )
        content[outcome] = {
            "off": _rate(off),
            "on": _rate(on),
            "difference": _mean(on - off, seed),
        }
    both = [p for p in pairs if p.off.status.success and p.on.status.success]
    times = np.array([p.on.status.end - p.off.status.end for p in both])
    content["time_of_successes"] = {
        "off": _mean(np.array([p.off.status.end for p in pairs if p.off.status.success]), seed),
        "on": _mean(np.array([p.on.status.end for p in pairs if p.on.status.success]), seed),
        "difference_where_both_succeed": _mean(times, seed),
        "both_succeed": len(both),
    }
    return content


def _has(run: EpisodeRun, outcome: str) -> bool:
    """Success counts whatever came before; a failure is the episode's first."""
    if outcome == "success":
        return run.status.success
    return run.status.failure_type == outcome


def _rate(hits: FloatArray) -> dict[str, Any]:
    low, high = rate_interval(int(hits.sum()), len(hits))
    return {"count": int(hits.sum()), "rate": float(hits.mean()), "low": low, "high": high}


def _mean(values: FloatArray, seed: int) -> dict[str, float | None]:
    """Mean with its 95 % bootstrap interval over episodes; None where there is none."""
    if not len(values):
        return {"value": None, "low": None, "high": None}
    rng = np.random.default_rng(seed)
    drawn = rng.choice(values, (REPLICATES, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": float(values.mean()), "low": float(low), "high": float(high)}
