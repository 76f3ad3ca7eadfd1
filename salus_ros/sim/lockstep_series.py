"""Series of episodes in lock-step: one process, as fast as the machine allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from salus_ros.policy.registry import make_backend
from salus_ros.resources import config_file
from salus_ros.sim.lockstep import EpisodeRun, Lockstep, LockstepConfig
from salus_ros.sim.rig import Rig
from salus_ros.supervision.limits import RobotLimits, load_limits
from salus_ros.supervision.workspace import load_workspace

JOINT_NAMES = tuple(f"panda_joint{i}" for i in range(1, 8))


def panda_limits() -> RobotLimits:
    """Limits of the simulated Panda, and the workspace of its rig."""
    limits = load_limits(config_file("panda_joint_limits.yaml"), JOINT_NAMES, "panda_gripper")
    return replace(limits, workspace=load_workspace(config_file("panda_workspace.yaml")))


def run_series(
    series: list[tuple[str, int]],
    policy: str,
    disturbance: str = "",
    cameras: tuple[str, ...] | None = None,
    on_episode: Callable[[EpisodeRun], None] = lambda _: None,
) -> list[EpisodeRun]:
    """Run (instruction, seed) episodes; cameras None: those that the policy needs.

    Raises ValueError for an unknown policy, instruction or disturbance.
    """
    backend, rig = make_backend(policy), Rig()
    rendered = backend.cameras if cameras is None else cameras
    lockstep = Lockstep(rig, backend, panda_limits(), config=LockstepConfig(cameras=rendered))
    runs = []
    try:
        for instruction, seed in series:
            runs.append(lockstep.run_episode(instruction, seed, disturbance or None))
            on_episode(runs[-1])
    finally:
        rig.close()
    return runs


def interventions(runs: list[EpisodeRun]) -> Counter[str]:
    """Interventions by reason over all episodes."""
    total: Counter[str] = Counter()
    for run in runs:
        total.update(run.interventions)
    return total


def times_real_time(runs: list[EpisodeRun]) -> float:
    """Simulated seconds per second on the wall."""
    return sum(r.status.end for r in runs) / sum(r.wall_seconds for r in runs)
