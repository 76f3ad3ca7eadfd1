"""Do the detectors cost task success? The same episodes in lock-step with and without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from salus_ros.bench import supervisor_statistics as statistics
from salus_ros.bench.supervisor_episodes import make_lockstep, panda_identity
from salus_ros.sim.lockstep import EpisodeRun
from salus_ros.sim.running_policy import RunningPolicy
from salus_ros.sim.series import episode_series
from salus_ros.supervision.detector_guard import Detectors, make_detectors
from salus_ros.supervision.detectors import DetectorCalibration

ALARM = "detector_alarm"


def success_study(
    calibration: DetectorCalibration,
    episodes: int,
    seed: int,
    policy: RunningPolicy,
    on_episode: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Outcomes of the same `episodes` with and without detectors, and how they compare.

    DetectorError, one line, for a calibration or policy that can't be used.
    """
    identity = panda_identity()
    calibration.require(identity.robot, identity.names)
    off = _runs(None, episodes, seed, policy, on_episode)
    on = _runs(make_detectors(calibration), episodes, seed, policy, on_episode)
    return compare(off, on) | {
        "study": "detectors_success",
        "policy": policy.name,
        "episodes": episodes,
        "seed": seed,
        "calibration": calibration.describe(),
    }


def _runs(
    detectors: Detectors | None,
    episodes: int,
    seed: int,
    policy: RunningPolicy,
    on_episode: Callable[[], None],
) -> list[EpisodeRun]:
    lockstep, rig = make_lockstep(policy, detectors)
    runs = []
    try:
        for instruction, episode_seed in episode_series(episodes, seed):
            runs.append(lockstep.run_episode(instruction, episode_seed))
            on_episode()
    finally:
        rig.close()
    return runs


def compare(off: Sequence[EpisodeRun], on: Sequence[EpisodeRun]) -> dict[str, Any]:
    """Successes without (`off`) and with detectors (`on`) of the same episodes, in pairs."""
    without = [run.status.success for run in off]
    with_them = [run.status.success for run in on]
    lost = sum(a and not b for a, b in zip(without, with_them, strict=True))
    won = sum(b and not a for a, b in zip(without, with_them, strict=True))
    held = sum(bool(run.interventions.get(ALARM)) for run in on)
    interval = statistics.rate_interval(sum(without), len(without))
    rate = sum(with_them) / len(with_them)
    return {
        "off": _share(sum(without), len(without)),
        "on": _share(sum(with_them), len(with_them)),
        "on_inside_interval_of_off": interval[0] <= rate <= interval[1],
        "only_without": lost,
        "only_with": won,
        "difference": (won - lost) / len(without),
        "difference_interval": paired_interval(won, lost, len(without)),
        "mcnemar_exact_p": mcnemar(won, lost),
        "episodes_with_false_hold": _share(held, len(on)),
        "mean_seconds": {
            "off": sum(run.status.end for run in off) / len(off),
            "on": sum(run.status.end for run in on) / len(on),
        },
    }


def _share(hits: int, count: int) -> dict[str, Any]:
    interval = statistics.rate_interval(hits, count)
    return {"count": hits, "of": count, "rate": hits / count, "interval": interval}


def mcnemar(won: int, lost: int) -> float:
    """Two-sided exact p of McNemar's test: pairs that differ, as fair coins; 1 where none does."""
    count = won + lost
    fewest = sum(math.comb(count, k) for k in range(min(won, lost) + 1))
    return float(min(1.0, 2 * fewest / 2**count))


def paired_interval(won: int, lost: int, count: int) -> statistics.Interval:
    """95 % interval of the difference of two paired shares.

    Both parts of it, pairs won and lost of all, at 97.5 % each (Clopper-Pearson, Bonferroni): it
    is wide, and holds where no pair differs, too.
    """
    gained = statistics.rate_interval(won, count, level=0.975)
    given = statistics.rate_interval(lost, count, level=0.975)
    return gained[0] - given[1], gained[1] - given[0]
