"""Early exit in SmolVLA: its language layers and its expert's, as MLPs that may be narrowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from salus_ros.policy.early_exit.files import NarrowMlps
from salus_ros.policy.early_exit.narrowing import (
    Method,
    MlpWeights,
    channel_statistics,
    narrow_weights,
)
from salus_ros.policy.early_exit.settings import EarlyExitError
from salus_ros.policy.lerobot.smolvla.layers import DecoderLayer, NarrowGate
from salus_ros.policy.lerobot.smolvla.sampler import SmolVLASampler


def layers_of(sampler: SmolVLASampler) -> dict[str, DecoderLayer]:
    """Layers whose MLPs run, by name; the last language layer's doesn't."""
    language = {f"language.{i}": layer for i, layer in enumerate(sampler.encode.layers[:-1])}
    expert = {f"expert.{i}": layer for i, layer in enumerate(sampler.expert.layers)}
    return language | expert


def default_checkpoints(layers: int) -> tuple[int, ...]:
    """A quarter, a half and three quarters down: after layers 4, 8 and 12 of 16."""
    return tuple(sorted({layers // 4, layers // 2, 3 * layers // 4}))


def make_narrow(
    sampler: SmolVLASampler, policy: Any, method: Method, run: Callable[[], object]
) -> NarrowMlps:
    """Narrow MLPs from what the channels do while `run` runs LeRobot's policy on recorded data.

    LeRobot's own modules are listened to: the fast path has none.
    """
    language = policy.model.vlm_with_expert
    modules = {
        f"language.{i}": layer.mlp.down_proj
        for i, layer in enumerate(language.get_vlm_model().text_model.layers[:-1])
    }
    modules |= {
        f"expert.{i}": layer.mlp.down_proj for i, layer in enumerate(language.lm_expert.layers)
    }
    statistics = channel_statistics(modules, run)
    return {
        name: narrow_weights(_weights(layer), statistics[name], method)
        for name, layer in layers_of(sampler).items()
    }


def _weights(layer: DecoderLayer) -> MlpWeights:
    bias: Tensor = torch.zeros_like(layer.down[:, 0])
    return MlpWeights((layer.gate, layer.up), (), layer.down, bias)


def install(sampler: SmolVLASampler, narrow: NarrowMlps) -> None:
    """Let the fast path use them. Raises EarlyExitError where they are of another model."""
    layers = layers_of(sampler)
    if set(layers) != set(narrow):
        raise EarlyExitError(f"early exit has {len(narrow)} MLPs, the policy {len(layers)}")
    for name, layer in layers.items():
        layer.narrow = {skip: _gate(name, layer, w) for skip, w in narrow[name].items()}


def _gate(name: str, layer: DecoderLayer, weights: MlpWeights) -> NarrowGate:
    gate, up = weights.ups
    fits = gate.shape == up.shape and up.shape[1:] == layer.up.shape[1:]
    if not fits or weights.down.shape != (len(layer.down), len(up)):
        raise EarlyExitError(f"early exit's MLP '{name}' is of another size than the policy's")
    return NarrowGate(
        *(t.detach().to(layer.down) for t in (gate, up, weights.down, weights.down_bias))
    )
