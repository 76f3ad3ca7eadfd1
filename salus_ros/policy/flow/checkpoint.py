"""Weights (safetensors) and what they are for (JSON), in one folder; nothing else is read.

`policy.safetensors`, and `policy.json` with the format's number, the configuration, the
normalisation, and where it was trained. The JSON carries the weights' SHA-256, so that two
halves of different checkpoints are never put together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from salus_ros.policy.description import read_description, sha256
from salus_ros.policy.flow.config import FORMAT, FlowConfig, config_from_json
from salus_ros.policy.flow.network import FlowNetwork
from salus_ros.policy.flow.state import Normalisation

WEIGHTS, DESCRIPTION = "policy.safetensors", "policy.json"
SHIPPED = Path(__file__).parent / "weights"
"""The checkpoint that comes with the package."""
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
_NORMALISATION = ("state_mean", "state_scale", "action_scale", "action_low", "action_high")


class CheckpointError(ValueError):
    """A checkpoint that can't be used; one line says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A network with all that it needs; training: how it came about (data, command, time)."""

    network: FlowNetwork
    normalisation: Normalisation
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> FlowConfig:
        """Of the network."""
        return self.network.config


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: t.contiguous() for name, t in checkpoint.network.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    normalisation = {
        name: np.asarray(getattr(checkpoint.normalisation, name)).tolist()
        for name in _NORMALISATION
    }
    description = {
        "format": FORMAT,
        "config": checkpoint.config.to_json(),
        "normalisation": normalisation,
        "sha256": sha256(folder / WEIGHTS),
        "training": checkpoint.training,
    }
    (folder / DESCRIPTION).write_text(json.dumps(description) + "\n")


def load_checkpoint(folder: Path | None = None) -> Checkpoint:
    """Read and check a checkpoint; None: the one that is shipped. Raises CheckpointError."""
    folder = SHIPPED if folder is None else Path(folder)
    if folder.suffix in _PICKLES or any(folder.glob("*.p*kl")):
        raise CheckpointError(
            f"{folder} is or holds a pickle, which could run anything: only safetensors are loaded"
        )
    description = _description(folder)
    try:
        config = config_from_json(description["config"])
        normalisation = _normalisation(description["normalisation"], config)
        digest = description["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / DESCRIPTION} doesn't fit: {error}") from error
    if digest != sha256(folder / WEIGHTS):
        raise CheckpointError(f"{folder}: {WEIGHTS} isn't the one that {DESCRIPTION} describes")
    return Checkpoint(_network(folder, config), normalisation, description.get("training", {}))


def _description(folder: Path) -> dict[str, Any]:
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            found = sorted(p.name for p in folder.glob("*")) if folder.is_dir() else []
            pickles = [name for name in found if Path(name).suffix in _PICKLES]
            why = f" ({pickles[0]} is a pickle: only safetensors are loaded)" if pickles else ""
            raise CheckpointError(f"no {name} in {folder}{why}: give a folder with a checkpoint")
    try:
        return read_description(
            folder / DESCRIPTION, FORMAT, f"{folder} has checkpoint format", "train again"
        )
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def _normalisation(values: dict[str, Any], config: FlowConfig) -> Normalisation:
    joints = config.dims - 1
    shapes = {
        "state_mean": (config.state_size,),
        "state_scale": (config.state_size,),
        "action_scale": (config.rows, joints),
        "action_low": (config.dims,),
        "action_high": (config.dims,),
    }
    arrays = {}
    for name, shape in shapes.items():
        array = np.array(values[name], np.float64)
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"normalisation {name} has shape {array.shape}, {shape} is needed")
        if name.endswith("scale") and not (array > 0).all():
            raise ValueError(f"normalisation {name} must be above 0")
        arrays[name] = array
    return Normalisation(**arrays)


def _network(folder: Path, config: FlowConfig) -> FlowNetwork:
    network = FlowNetwork(config).eval()
    try:
        state = load_file(folder / WEIGHTS)
        network.load_state_dict(state)
    except SafetensorError as error:
        raise CheckpointError(f"{folder / WEIGHTS} is no safetensors file: {error}") from error
    except RuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder / WEIGHTS} doesn't fit {DESCRIPTION}: {line}") from error
    if not all(bool(torch.isfinite(t).all()) for t in state.values()):
        raise CheckpointError(f"{folder / WEIGHTS} holds numbers that are not finite")
    return network
