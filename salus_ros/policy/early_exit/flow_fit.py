"""Fit early exit for a flow checkpoint on a data set, and keep it beside the weights."""

from __future__ import annotations

from pathlib import Path

import torch

from salus_ros.policy.early_exit.files import EarlyExitParts, save_early_exit
from salus_ros.policy.early_exit.fitting import (
    ProbeRecord,
    Say,
    Splits,
    fit_early_exit,
    split,
)
from salus_ros.policy.early_exit.flow_model import FlowRunner
from salus_ros.policy.early_exit.narrowing import Method
from salus_ros.policy.early_exit.observations import read_recorded
from salus_ros.policy.flow.checkpoint import SHIPPED, WEIGHTS, Checkpoint, load_checkpoint


def fit(
    weights: Path | None,
    data: Path,
    method: Method,
    episodes: int,
    per_episode: int,
    seed: int,
    say: Say,
    threads: int = 0,
) -> tuple[EarlyExitParts, ProbeRecord]:
    """weights: the checkpoint's folder, None: the shipped one. threads: of the CPU; 0: torch's own.

    Raises ValueError or OSError.
    """
    if threads:
        torch.set_num_threads(threads)
    folder = weights or SHIPPED
    checkpoint = load_checkpoint(folder)
    say("observations")
    splits = recorded_splits(checkpoint, data, episodes, per_episode, seed)
    parts, record = fit_early_exit(flow_runner(checkpoint), splits, method, seed, say)
    parts.fitted.update(data=data.name, per_episode=per_episode, most_episodes=episodes)
    save_early_exit(folder, folder / WEIGHTS, parts)
    return parts, record


def recorded_splits(
    checkpoint: Checkpoint, data: Path, episodes: int, per_episode: int, seed: int
) -> Splits:
    """The same for the same arguments."""
    return split(read_recorded(data, checkpoint, per_episode, episodes, seed), seed)


def flow_runner(checkpoint: Checkpoint) -> FlowRunner:
    """With the noise, samples and steps that the running policy has by default."""
    config = checkpoint.config
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(config.samples, config.rows, config.dims, generator=generator)
    return FlowRunner(checkpoint.network, noise[:1], config.samples, config.steps)
