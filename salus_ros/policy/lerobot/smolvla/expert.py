"""SmolVLA's action expert: from noise to actions, with nothing in the loop that is constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from lerobot.policies.smolvla.modeling_smolvla import create_sinusoidal_pos_embedding
from torch import Tensor

from salus_ros.policy.lerobot.smolvla.layers import (
    DecoderLayer,
    Rotation,
    attend,
    cross_attends,
    rms_norm,
    rotate,
    rotation,
    wavelengths,
)
from salus_ros.policy.lerobot.smolvla.prefix import Prefix


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What is the same in all steps of one chunk.

    turn: positions of the action tokens behind the prefix. allowed_own [G * chunk, L + chunk] and
    allowed_prefix [1, L] or None: the tokens that they attend to.
    """

    prefix: Prefix
    turn: Rotation
    allowed_own: Tensor
    allowed_prefix: Tensor | None


class ActionExpert:
    """Euler steps from noise to a chunk, for S samples on one prefix."""

    def __init__(self, model: Any) -> None:
        config, expert = model.config, model.vlm_with_expert.lm_expert
        self.steps = int(config.num_steps)
        self._crosses = cross_attends(config, len(expert.layers))
        self.layers = [
            DecoderLayer(layer, projects_keys=not crosses)
            for layer, crosses in zip(expert.layers, self._crosses, strict=True)
        ]
        self._norm, self._out = expert.norm, model.action_out_proj
        self._time_out = model.action_time_mlp_out
        self._in_weight, self._in_bias = _input_projection(model, self.steps)
        self._type = self.layers[0].out.dtype
        self._own = torch.arange(int(config.chunk_size), device=self._in_weight.device)
        self._causal = self._own <= self._own[:, None]
        self._wavelengths = wavelengths(self.layers[0].head, self._own.device)
        self._turn_from_zero = rotation(self._own, self._wavelengths)

    def __call__(self, noise: Tensor, prefix: Prefix, skip: float = 0.0) -> Tensor:
        """Actions from noise, both [S, chunk, max_action_dim] float32 in the policy's units.

        skip: share of the MLPs' channels that is left out in all steps.
        """
        chunk = self._chunk(prefix)
        actions = noise
        for step in range(self.steps):
            actions = actions - self._velocity(actions, step, chunk, skip) * (1.0 / self.steps)
        return actions

    def _chunk(self, prefix: Prefix) -> _Chunk:
        layer, valid = self.layers[0], prefix.valid
        seen = self._causal.new_ones(prefix.length) if valid is None else valid
        own = torch.cat((seen.expand(len(self._own), -1), self._causal), dim=1)
        return _Chunk(
            prefix=prefix,
            turn=rotation(self._own + prefix.count, self._wavelengths),
            allowed_own=own.repeat(layer.heads // layer.groups, 1),
            allowed_prefix=None if valid is None else valid[None],
        )

    def _velocity(self, actions: Tensor, step: int, chunk: _Chunk, skip: float) -> Tensor:
        hidden = F.silu(F.linear(actions, self._in_weight, self._in_bias[step]))
        hidden = self._time_out(hidden).to(self._type)
        for number, layer in enumerate(self.layers):
            if self._crosses[number]:
                seen = self._attend_to_prefix(number, layer.project(hidden)[0], chunk)
            else:
                seen = self._attend_to_all(number, layer.project(hidden), chunk)
            hidden = layer.finish(hidden, seen, skip)
        velocity: Tensor = self._out(rms_norm(hidden, self._norm).float())
        return velocity

    def _attend_to_all(self, number: int, heads: tuple[Tensor, ...], chunk: _Chunk) -> Tensor:
        """Action tokens see the prefix and those before them."""
        queries, key, value = heads
        keys, values = chunk.prefix.keys[number], chunk.prefix.values[number]
        keys[:, :, chunk.prefix.length :] = rotate(key, chunk.turn)
        values[:, :, chunk.prefix.length :] = value
        return attend(rotate(queries, chunk.turn), keys, values, chunk.allowed_own)

    def _attend_to_prefix(self, number: int, queries: Tensor, chunk: _Chunk) -> Tensor:
        """Action tokens see the prefix; the samples are rows of one product with its keys."""
        samples, heads, length, width = queries.shape
        turned = rotate(queries, self._turn_from_zero)
        keys, values = chunk.prefix.keys[number], chunk.prefix.values[number]
        groups = keys.shape[1]
        rows = turned.view(samples, groups, -1, width).transpose(0, 1).reshape(1, groups, -1, width)
        seen = F.scaled_dot_product_attention(rows, keys, values, attn_mask=chunk.allowed_prefix)
        seen = seen.reshape(groups, samples, -1, length, width).permute(1, 3, 0, 2, 4)
        return seen.reshape(samples, length, heads * width)


def _input_projection(model: Any, steps: int) -> tuple[Tensor, Tensor]:
    """Weight [width, dims] of actions, and bias [steps, 1, width]: a step's time is constant.

    LeRobot projects an action, appends the embedding of the time and projects both; that is one
    linear map, put together here in double precision.
    """
    config, mlp = model.config, model.action_time_mlp_in
    width = mlp.in_features // 2
    device = mlp.weight.device
    times = torch.tensor([1.0 - step / steps for step in range(steps)], device=device)
    embedded = create_sinusoidal_pos_embedding(
        times, width, config.min_period, config.max_period, device=device
    )
    embedded = embedded.to(mlp.weight.dtype).double()
    for_action, for_time = mlp.weight.double().split((width, width), dim=1)
    weight = for_action @ model.action_in_proj.weight.double()
    bias = for_action @ model.action_in_proj.bias.double() + mlp.bias.double()
    both = bias + embedded @ for_time.T
    return weight.to(mlp.weight.dtype), both.to(mlp.weight.dtype)[:, None]
