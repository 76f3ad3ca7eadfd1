"""One layer of SmolVLA's language model or action expert, as plain functions over its weights.

Shapes: B samples, L tokens, C width, H query heads, K key-value heads, G = H / K, D head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

LONGEST_WAVELENGTH = 10_000.0


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and sines of rotary positions, [1, 1, L, D / 2] float32, for `rotate`."""

    cos: Tensor
    sin: Tensor


def wavelengths(head: int, device: torch.device) -> Tensor:
    """[D / 2] float32: of each pair in a head of width D (RoFormer, arXiv 2104.09864)."""
    exponents = (2.0 / head) * torch.arange(head // 2, dtype=torch.float32, device=device)
    return LONGEST_WAVELENGTH**exponents


def rotation(positions: Tensor, lengths: Tensor) -> Rotation:
    """Of token positions [L], given the wavelengths."""
    angles = positions.to(torch.float32)[:, None] / lengths
    return Rotation(torch.cos(angles)[None, None], torch.sin(angles)[None, None])


def rotate(heads: Tensor, by: Rotation) -> Tensor:
    """Turn heads [B, heads, L, D] by their positions, in float32; the type stays."""
    first, second = heads.to(torch.float32).chunk(2, dim=-1)
    turned = torch.cat((first * by.cos - second * by.sin, second * by.cos + first * by.sin), dim=-1)
    return turned.to(heads.dtype)


def attend(queries: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None) -> Tensor:
    """Grouped-query attention: [B, H, L, D] over [B, K, T, D], as [B, L, H * D].

    allowed: bool, which of T tokens each of the L queries sees, broadcastable to [G * L, T] with
    the groups outermost; None: all. Queries of one group share their keys, so they are rows of
    one product, and keys are never repeated.
    """
    batch, heads, length, width = queries.shape
    groups = keys.shape[1]
    rows = queries.reshape(batch, groups, (heads // groups) * length, width)
    seen = F.scaled_dot_product_attention(rows, keys, values, attn_mask=allowed)
    return seen.reshape(batch, heads, length, width).transpose(1, 2).reshape(batch, length, -1)


@dataclass(frozen=True, slots=True)
class NarrowGate:
    """A gated MLP that computes some of its channels.

    gate, up [kept, C], down [C, kept], bias [C]: what the others put out on average.
    """

    gate: Tensor
    up: Tensor
    down: Tensor
    bias: Tensor


class DecoderLayer:
    """The weights of one Llama layer; those of queries, keys and values as one matrix.

    projects_keys: false for an expert layer that only attends to the prefix.
    """

    def __init__(self, layer: Any, projects_keys: bool = True) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.head: int = attention.head_dim
        self.heads = attention.q_proj.out_features // self.head
        self.groups = attention.k_proj.out_features // self.head
        projections = [attention.q_proj]
        if projects_keys:
            projections += [attention.k_proj, attention.v_proj]
        self.qkv = _one_matrix(projections)
        self.out = attention.o_proj.weight
        self.input_norm, self.norm = layer.input_layernorm, layer.post_attention_layernorm
        self.gate, self.up, self.down = (
            mlp.gate_proj.weight,
            mlp.up_proj.weight,
            mlp.down_proj.weight,
        )
        self.narrow: dict[float, NarrowGate] = {}

    def project(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Queries [B, H, L, D], and keys and values [B, K, L, D] where the layer has them."""
        batch, length, _ = hidden.shape
        heads = F.linear(rms_norm(hidden, self.input_norm), self.qkv)
        heads = heads.view(batch, length, -1, self.head).transpose(1, 2)
        if heads.shape[1] == self.heads:
            return (heads,)
        return tuple(heads.split((self.heads, self.groups, self.groups), dim=1))

    def finish(self, hidden: Tensor, seen: Tensor, skip: float = 0.0) -> Tensor:
        """What follows attention: its output [B, L, H * D] and the MLP are added to hidden.

        skip: share of the MLP's channels that is left out.
        """
        hidden = hidden + F.linear(seen, self.out)
        return hidden + self.mlp(rms_norm(hidden, self.norm), skip)

    def mlp(self, hidden: Tensor, skip: float = 0.0) -> Tensor:
        """Gated MLP [B, L, C]; skip: a key of `narrow`, or 0 for the whole MLP."""
        if skip:
            return self._narrow_mlp(hidden, self.narrow[skip])
        return F.linear(F.silu(F.linear(hidden, self.gate)) * F.linear(hidden, self.up), self.down)

    def _narrow_mlp(self, hidden: Tensor, narrow: NarrowGate) -> Tensor:
        if not len(narrow.up):
            return narrow.bias.expand_as(hidden)
        gate = F.silu(F.linear(hidden, narrow.gate))
        return F.linear(gate * F.linear(hidden, narrow.up), narrow.down, narrow.bias)


def cross_attends(config: Any, layers: int) -> list[bool]:
    """Which layers of the expert attend to the prefix alone; the others to themselves as well."""
    every = config.self_attn_every_n_layers
    cross = "cross" in config.attention_mode
    return [cross and not (every > 0 and number % every == 0) for number in range(layers)]


def rms_norm(hidden: Tensor, norm: Any) -> Tensor:
    """Root-mean-square norm with the weight of a module."""
    return F.rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _one_matrix(projections: list[Any]) -> Tensor:
    """Their weights, one below the other; the modules keep parts of it, so none is held twice."""
    if len(projections) == 1:
        return projections[0].weight.data
    whole = torch.cat([projection.weight.data for projection in projections])
    parts = whole.split([projection.out_features for projection in projections])
    for projection, part in zip(projections, parts, strict=True):
        projection.weight.data = part
    return whole
