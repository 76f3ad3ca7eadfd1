"""Series of episodes in lock-step: one process, as fast as the machine allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from salus_ros.prediction.checkpoint import checkpoint_file, load_checkpoint
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.resources import config_file, file_parameter
from salus_ros.signals.calibration import Calibration, load_calibration
from salus_ros.sim.lockstep import EpisodeRun, Lockstep
from salus_ros.sim.rig import Rig
from salus_ros.sim.running_policy import sim_policy
from salus_ros.supervision.limits import RobotLimits, load_limits
from salus_ros.supervision.workspace import load_workspace

ROBOT = "panda"
JOINT_NAMES = tuple(f"panda_joint{i}" for i in range(1, 8))


def panda_limits() -> RobotLimits:
    """Limits of the simulated Panda, and the workspace of its rig."""
    limits = load_limits(config_file("panda_joint_limits.yaml"), JOINT_NAMES, "panda_gripper")
    return replace(limits, workspace=load_workspace(config_file("panda_workspace.yaml")))


def sim_calibration(path: str = "") -> Calibration | None:
    """Calibration of the signals: a file's, or what the parameter file sim_panda gives.

    None where it gives none. Raises SignalError for a file that isn't of the Panda.
    """
    name = path or _sim_parameter("signal_publisher", "calibration")
    if name:
        file = Path(name) if Path(name).is_file() else config_file(name)
        calibration = load_calibration(file)
        calibration.require(ROBOT, len(JOINT_NAMES) + 1, len(JOINT_NAMES))
        return calibration
    lag = _sim_parameter("signal_publisher", "joint_lag")
    if not lag:
        return None
    return Calibration(ROBOT, lag_seconds=np.full(len(JOINT_NAMES), lag))


def sim_predictor(checkpoint: str = "") -> FailurePredictor | None:
    """The failure predictor of a checkpoint, or of the one that the parameter file sim_panda names.

    None where it names none. Raises SignalError for a checkpoint that doesn't fit.
    """
    name = checkpoint or _sim_parameter("failure_predictor", "checkpoint")
    return FailurePredictor(load_checkpoint(checkpoint_file(name))) if name else None


def _sim_parameter(node: str, name: str) -> Any:
    return file_parameter(config_file("sim_panda.yaml"), node, name)


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
    running = sim_policy(policy)
    backend, rig = running.make(), Rig()
    config = running.lockstep(backend.cameras if cameras is None else cameras)
    lockstep = Lockstep(rig, backend, panda_limits(), config=config, calibration=sim_calibration())
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
