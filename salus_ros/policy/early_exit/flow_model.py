"""Early exit in the built-in flow policy: its MLPs, their costs, and batches that exit apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salus_ros.interfaces import FloatArray
from salus_ros.policy.early_exit.buckets import kept_channels
from salus_ros.policy.early_exit.cascade import ExitRule
from salus_ros.policy.early_exit.files import NarrowMlps
from salus_ros.policy.early_exit.flops import MlpCost, mlp_flops, probe_flops
from salus_ros.policy.early_exit.narrowing import (
    Method,
    MlpWeights,
    channel_statistics,
    narrow_weights,
)
from salus_ros.policy.early_exit.settings import EarlyExitError
from salus_ros.policy.flow.config import FlowConfig
from salus_ros.policy.flow.flow import ExpertStep, held_of
from salus_ros.policy.flow.network import FlowNetwork, Mlp, Narrow
from salus_ros.policy.flow.sampler import EagerSampler

BATCH = 256
"""Observations that run at once."""
AfterLayers = Callable[[int, Tensor], FloatArray]


class Chunks(NamedTuple):
    """What a batch of n observations gave.

    chunks [n, rows, dims], normalised. skips [n, layers + 1]: of each prefix layer, then of the
    expert. exit_layers [n]: -1 where nothing was skipped. flops [n]: of all MLPs, and of the probes
    that ran.
    """

    chunks: Tensor
    skips: FloatArray
    exit_layers: NDArray[np.int64]
    flops: FloatArray


def mlps_of(network: FlowNetwork) -> dict[str, Mlp]:
    """The MLPs that may be narrowed, by name."""
    prefix = {f"layers.{i}": layer.mlp for i, layer in enumerate(network.layers)}
    expert = {f"expert.{i}": layer.mlp for i, layer in enumerate(network.expert.layers)}
    return prefix | expert


def weights_of(mlp: Mlp) -> MlpWeights:
    """Of the whole MLP."""
    return MlpWeights((mlp.up.weight,), (mlp.up.bias,), mlp.down.weight, mlp.down.bias)


def make_narrow(network: FlowNetwork, method: Method, run: Callable[[], object]) -> NarrowMlps:
    """Narrow MLPs from what the channels do while `run` runs the network on recorded data."""
    mlps = mlps_of(network)
    statistics = channel_statistics({name: mlp.down for name, mlp in mlps.items()}, run)
    return {
        name: narrow_weights(weights_of(mlp), statistics[name], method)
        for name, mlp in mlps.items()
    }


def install(network: FlowNetwork, narrow: NarrowMlps) -> None:
    """Let the network use them. Raises EarlyExitError where they are of another network."""
    mlps = mlps_of(network)
    if set(mlps) != set(narrow):
        raise EarlyExitError(f"early exit has MLPs {sorted(narrow)}, the policy {sorted(mlps)}")
    for name, mlp in mlps.items():
        mlp.narrow = {skip: _narrow(name, mlp, skip, w) for skip, w in narrow[name].items()}


def _narrow(name: str, mlp: Mlp, skip: float, weights: MlpWeights) -> Narrow:
    whole, kept = mlp.down.weight, len(weights.ups[0])
    hidden = whole.shape[1]
    fits = (
        kept in (hidden, kept_channels(hidden, skip))
        and weights.down.shape == (len(whole), kept)
        and weights.ups[0].shape == (kept, mlp.up.in_features)
    )
    if not fits:
        raise EarlyExitError(f"early exit's MLP '{name}' is of another size than the policy's")
    tensors = (weights.ups[0], weights.up_biases[0], weights.down, weights.down_bias)
    return Narrow(*(t.detach().to(whole) for t in tensors))


def costs_of(config: FlowConfig, samples: int, steps: int) -> list[MlpCost]:
    """Every MLP of a chunk: instruction, state, prefix, expert in all flow steps."""
    width, tokens = config.width, prefix_tokens(config)
    words = 16 * config.longest_instruction
    fixed = [
        MlpCost(1, 1, width, words + width, narrows=False),
        MlpCost(1, 1, 2 * width, config.state_size + width, narrows=False),
    ]
    prefix = [MlpCost(tokens, 1, config.mlp_width, 2 * width, i) for i in range(config.layers)]
    rows = samples * config.action_tokens
    expert = [MlpCost(rows, steps, config.expert_mlp_width, 2 * width)] * config.expert_layers
    return [*fixed, *prefix, *expert]


def prefix_tokens(config: FlowConfig) -> int:
    """Image tokens, instruction, state."""
    return len(config.cameras) * config.image_tokens + 2


class FlowRunner:
    """Runs a flow network on batches of observations, each with exits of its own.

    noise [1, rows, dims]: the same for every chunk. samples: draws of the running policy, for the
    costs; only the first, which is executed, is computed here.
    """

    def __init__(self, network: FlowNetwork, noise: Tensor, samples: int, steps: int) -> None:
        self.network, self.config = network, network.config
        self._noise, self._steps = noise, steps
        self._costs = costs_of(self.config, samples, steps)
        self._samplers: dict[float, EagerSampler] = {}

    @property
    def full_flops(self) -> int:
        """Of all MLPs of a chunk of the full model."""
        return mlp_flops(self._costs, [0.0] * self.config.layers, 0.0)

    def saving_after(self, layer: int, skip: float) -> float:
        """Share of MLP FLOPs that is saved where all after this prefix layer skip a share."""
        skips = [skip if i > layer else 0.0 for i in range(self.config.layers)]
        return 1.0 - mlp_flops(self._costs, skips, skip) / self.full_flops

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def full(self, tokens: Tensor) -> Tensor:
        """Chunks [n, rows, dims] of the full model; tokens [n, tokens, width]."""
        none = np.zeros(BATCH)
        return torch.cat([self._run(t, lambda *_: none)[0] for t in tokens.split(BATCH)])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def with_rule(self, tokens: Tensor, rule: ExitRule) -> Chunks:
        """Chunks as the rule's exits make them."""
        parts = [self._with_rule(t, rule) for t in tokens.split(BATCH)]
        chunks, skips, layers, flops = zip(*parts, strict=True)
        return Chunks(
            torch.cat(chunks), np.concatenate(skips), np.concatenate(layers), np.concatenate(flops)
        )

    def _with_rule(self, tokens: Tensor, rule: ExitRule) -> Chunks:
        cascade = rule.begin(len(tokens))
        chunks, skips = self._run(tokens, cascade.after_layer_of_batch)
        flops = [mlp_flops(self._costs, list(row[:-1]), float(row[-1])) for row in skips]
        probes = rule.probe_sizes() if rule.setting.kind != "fixed" else []
        extra = sum(probe_flops(*size, prefix_tokens(self.config)) for size in probes)
        return Chunks(chunks, skips, cascade.layers, np.array(flops, float) + extra)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def from_layer(self, tokens: Tensor, layer: int, skip: float) -> Tensor:
        """Chunks where all after this prefix layer skip the same share."""
        off, on = np.zeros(BATCH), np.full(BATCH, skip)
        parts = [
            self._run(t, lambda number, _: on if number >= layer else off)[0]
            for t in tokens.split(BATCH)
        ]
        return torch.cat(parts)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def hidden(self, tokens: Tensor, layers: tuple[int, ...]) -> dict[int, Tensor]:
        """Hidden states [n, tokens, width] of the full model after these prefix layers."""
        kept: dict[int, Tensor] = {}

        def keep(number: int, hidden: Tensor) -> float:
            if number in layers:
                kept[number] = hidden
            return 0.0

        self.network.encode(tokens, keep)
        return kept

    def _run(self, tokens: Tensor, after: AfterLayers) -> tuple[Tensor, FloatArray]:
        n = len(tokens)
        skip: FloatArray = np.zeros(n)
        skips = []
        for number, layer in enumerate(self.network.layers):
            tokens = _apart(tokens, skip, layer)
            skips.append(skip)
            skip = np.array(after(number, tokens)[:n])
        hidden = self.network.norm(tokens)
        chunks = _apart(hidden, skip, self._chunks)
        return chunks, np.stack([*skips, skip], 1)

    def _chunks(self, hidden: Tensor, skip: float) -> Tensor:
        if skip not in self._samplers:
            step = ExpertStep(self.network.expert, self._steps, skip)
            self._samplers[skip] = EagerSampler(step, self._steps)
        noise = self._noise.expand(len(hidden), -1, -1)
        return self._samplers[skip](noise, held_of(self.network.prefix(hidden)))


def _apart(x: Tensor, skips: FloatArray, run: Callable[[Tensor, float], Tensor]) -> Tensor:
    """`run` on the rows of each share that is skipped, together again in their order."""
    shares = np.unique(skips)
    if len(shares) == 1:
        return run(x, float(shares[0]))
    rows = [torch.from_numpy(np.flatnonzero(skips == share)) for share in shares]
    parts = [run(x[row], float(share)) for row, share in zip(rows, shares, strict=True)]
    return torch.cat(parts)[torch.cat(rows).argsort()]
