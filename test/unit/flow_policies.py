"""A tiny flow policy for tests: the right shapes, random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from salus_ros.interfaces import JointState, Observation
from salus_ros.policy.flow.checkpoint import Checkpoint, save_checkpoint
from salus_ros.policy.flow.config import FlowConfig
from salus_ros.policy.flow.network import FlowNetwork
from salus_ros.policy.flow.panda import panda_config
from salus_ros.policy.flow.state import Normalisation
from salus_ros.sim.world import HOME

TINY_SIZES = {
    "image_size": 16,
    "channels": (4, 4, 8, 8),
    "image_tokens": 4,
    "width": 16,
    "heads": 2,
    "layers": 2,
    "mlp_width": 32,
    "expert_layers": 2,
    "expert_mlp_width": 32,
    "dropout": 0.2,
}


def tiny_config(**changes: object) -> FlowConfig:
    return replace(panda_config(), **{**TINY_SIZES, **changes})  # type: ignore[arg-type]


def tiny_checkpoint(seed: int = 0, **changes: object) -> Checkpoint:
    config = tiny_config(**changes)
    torch.manual_seed(seed)
    n, rows, dims = config.state_size, config.rows, config.dims
    normalisation = Normalisation(
        np.zeros(n), np.ones(n), np.full((rows, dims - 1), 0.01), np.full(dims, -3.0), np.ones(dims)
    )
    return Checkpoint(FlowNetwork(config).eval(), normalisation, {"seed": seed})


def saved(folder: Path, **changes: object) -> str:
    save_checkpoint(folder, tiny_checkpoint(**changes))
    return str(folder)


def observation(
    stamp: int = 0,
    instruction: str = "pick up the red block",
    seed: int = 0,
    size: tuple[int, int] = (32, 32),
    positions: np.ndarray = HOME,
) -> Observation:
    rng = np.random.default_rng(seed)
    images = {
        camera: rng.integers(0, 256, (*size, 3)).astype(np.uint8) for camera in ("front", "wrist")
    }
    joints = JointState(stamp, np.array(positions, float), np.zeros(7), np.zeros(7), 0.08)
    return Observation(stamp, joints, instruction, images)
