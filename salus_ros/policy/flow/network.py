"""The network: images, words and state become a prefix; an expert turns noise into a chunk.

Vision: a convolutional stem a camera; its features are pooled under learned attention maps, some
of them asked for by the instruction, into a few tokens that carry where the maps' centres lie
(TokenLearner, Ryoo et al., arXiv 2106.11297; spatial soft arg-max, Finn et al., arXiv 1509.06113).
A position is thus a number, not a place in a grid, and needs no large image. Prefix: a plain
pre-norm transformer over image tokens, instruction and state. Expert: a transformer over the action
tokens that also attends to the prefix, whose keys and values are made once per chunk; the flow's
time enters as scales and shifts of its norms, made once for all.

The expert predicts the clean chunk x1, from which the flow's velocity is (x1 - x) / (1 - t): the
last Euler step then ends exactly on a prediction (Li and He, arXiv 2511.13720).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from salus_ros.policy.early_exit.hook import AfterLayer, run_in_full
from salus_ros.policy.flow.config import FlowConfig
from salus_ros.policy.fused.layers import Norm, Weights, attend, norm_of, project


class Prefix(NamedTuple):
    """What the expert needs of an observation.

    keys, values: of each expert layer [batch, heads, tokens, width / heads]. latent [batch, width].
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    latent: Tensor


class Scene(NamedTuple):
    """Image tokens before the instruction is known: features of each camera."""

    features: tuple[Tensor, ...]


class Stem(nn.Module):
    """Image [batch, 3, size, size] in [0, 1] to features [batch, channels, size / 4, size / 4]."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        a, b, c, d = channels
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(3, a, 5, 2, 2),
                nn.Conv2d(a, b, 3, 2, 1),
                nn.Conv2d(b, c, 3, 1, 1),
                nn.Conv2d(c, d, 3, 1, 1),
            ]
        )

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        x = ((image - 0.5) * 2.0).to(self.layers[0].weight.dtype)
        for layer in self.layers:
            x = functional.relu(layer(x))
        return x


class Pooling(nn.Module):
    """Features to tokens: means under attention maps, and the maps' centres and spreads."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        channels, tokens = config.channels[-1], config.image_tokens
        self.asked = tokens // 2
        self.maps = nn.Linear(channels, tokens - self.asked)
        self.query = nn.Linear(config.width, self.asked * channels)
        self.key = nn.Linear(channels, channels)
        self.project = nn.Linear(channels + 4, config.width)
        self.place = nn.Parameter(torch.randn(tokens, config.width) * 0.02)
        side = config.image_size // 4
        axis = (torch.arange(side) + 0.5) / side * 2 - 1
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
        self.register_buffer("grid", torch.cat([grid, grid**2], 1), persistent=False)

    def forward(self, features: Tensor, instruction: Tensor) -> Tensor:
        """features [batch, channels, h, w], instruction [batch, width]: [batch, tokens, width]."""
        x = features.flatten(2).transpose(1, 2)
        query = self.query(instruction).view(len(x), self.asked, -1)
        asked = query @ self.key(x).transpose(1, 2) / math.sqrt(x.shape[-1])
        logits = torch.cat([self.maps(x).transpose(1, 2), asked], 1).float()
        attention = logits.softmax(-1)
        moments = attention @ self.grid
        centre, spread = moments[..., :2], moments[..., 2:] - moments[..., :2] ** 2
        pooled = attention.to(x.dtype) @ x
        tokens = torch.cat([pooled, centre.to(x.dtype), spread.to(x.dtype)], -1)
        return self.project(tokens) + self.place


class Narrow(NamedTuple):
    """An MLP that computes `kept` of its hidden channels.

    up [kept, width], up_bias [kept], down [out, kept], down_bias [out].
    """

    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor


class Mlp(nn.Module):
    """Two layers; `narrow` holds what stands in for them where a share of channels is skipped."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width if out is None else out)
        self.narrow: dict[float, Narrow] = {}

    def forward(
        self,
        x: Tensor,
        skip: float = 0.0,
        norm: Norm | None = None,
        residual: Tensor | None = None,
        dropout: nn.Dropout | None = None,
    ) -> Tensor:
        """[..., width] -> [..., out]; skip: a key of `narrow`, or 0 for the whole MLP.

        norm, residual, dropout: see `project`.
        """
        if not skip:
            hidden = project(self.up, x, norm, silu=True)
            return project(self.down, hidden, residual=residual, dropout=dropout)
        narrow = self.narrow[skip]
        if not len(narrow.up):
            out = narrow.down_bias.expand(*x.shape[:-1], -1)
            out = out if dropout is None else dropout(out)
            return out if residual is None else residual + out
        hidden = project(Weights(narrow.up, narrow.up_bias), x, norm, silu=True)
        down = Weights(narrow.down, narrow.down_bias)
        return project(down, hidden, residual=residual, dropout=dropout)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[batch, tokens, width] to [batch, heads, tokens, width / heads]."""
    batch, tokens, width = x.shape
    return x.view(batch, tokens, heads, width // heads).transpose(1, 2)


class PrefixLayer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = Mlp(width, config.mlp_width)

    def forward(self, x: Tensor, skip: float = 0.0) -> Tensor:
        """[batch, tokens, width]; skip: share of the MLP's channels that is left out."""
        qkv = project(self.qkv, x, norm_of(self.norm))
        q, k, v = (split_heads(part, self.heads) for part in qkv.chunk(3, -1))
        x = project(self.out, attend(q, k, v), residual=x)
        return self.mlp(x, skip, norm_of(self.mlp_norm), residual=x)


class ExpertLayer(nn.Module):
    """Attention among the action tokens, to the prefix, and an MLP; norms moved by the time."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_query = nn.Linear(width, width)
        self.cross_key_value = nn.Linear(width, 2 * width)
        self.cross_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = Mlp(width, config.expert_mlp_width)
        self.dropout = nn.Dropout(config.dropout)
        self.modulation = nn.Linear(width, 4 * width)

    def keys_values(self, prefix: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the prefix, which stay the same over the flow."""
        key, value = self.cross_key_value(prefix).chunk(2, -1)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def forward(
        self, x: Tensor, key: Tensor, value: Tensor, modulation: Tensor, skip: float = 0.0
    ) -> Tensor:
        """x [batch, tokens, width]; modulation [batch or 1, 1, 4 * width] of this layer.

        skip: share of the MLP's channels that is left out.
        """
        scale, shift, mlp_scale, mlp_shift = modulation.chunk(4, -1)
        qkv = project(self.qkv, x, Norm(scale, shift, moved=True))
        q, k, v = (split_heads(part, self.heads) for part in qkv.chunk(3, -1))
        x = project(self.out, attend(q, k, v), residual=x)
        query = split_heads(project(self.cross_query, x, norm_of(self.cross_norm)), self.heads)
        x = project(self.cross_out, attend(query, key, value), residual=x, dropout=self.dropout)
        norm = Norm(mlp_scale, mlp_shift, moved=True)
        return self.mlp(x, skip, norm, residual=x, dropout=self.dropout)


class Expert(nn.Module):
    """From a noisy chunk to the clean one."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        size = config.rows_per_token * config.dims
        self.enter = nn.Linear(size, width)
        self.place = nn.Parameter(torch.randn(config.action_tokens, width) * 0.02)
        self.time = Mlp(64, width, width)
        self.layers = nn.ModuleList([ExpertLayer(config) for _ in range(config.expert_layers)])
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, size)

    def modulations(self, time: Tensor) -> tuple[Tensor, ...]:
        """Of each layer [batch, 1, 4 * width], for flow times [batch] in [0, 1)."""
        frequencies = torch.exp(
            torch.linspace(0.0, math.log(1000.0), 32, device=time.device, dtype=torch.float32)
        )
        angles = time.float()[:, None] * frequencies
        waves = torch.cat([angles.sin(), angles.cos()], -1).to(self.place.dtype)
        embedded = functional.silu(self.time(waves))
        return tuple(layer.modulation(embedded)[:, None] for layer in self.layers)

    def forward(
        self,
        noisy: Tensor,
        prefix: Prefix,
        modulations: tuple[Tensor, ...],
        skip: float = 0.0,
    ) -> Tensor:
        """noisy [batch, rows, dims] normalised -> clean chunk, likewise, in the input's type.

        skip: share of the MLPs' channels that is left out.
        """
        batch = len(noisy)
        noise = noisy.reshape(batch, self.config.action_tokens, -1).to(self.place.dtype)
        x = project(self.enter, noise, residual=self.place)
        layers = zip(self.layers, prefix.keys, prefix.values, modulations, strict=True)
        for layer, key, value, modulation in layers:
            x = layer(x, key, value, modulation, skip)
        clean = project(self.leave, x, norm_of(self.norm))
        clean = clean.reshape(batch, self.config.rows, self.config.dims)
        return clean.to(noisy.dtype)


class FlowNetwork(nn.Module):
    """The whole policy network."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.stems = nn.ModuleList([Stem(config.channels) for _ in config.cameras])
        self.poolings = nn.ModuleList([Pooling(config) for _ in config.cameras])
        self.words = nn.Embedding(len(config.words), 16)
        self.instruction = Mlp(16 * config.longest_instruction, width)
        self.instruction.up = nn.Linear(16 * config.longest_instruction, width)
        self.instruction.down = nn.Linear(width, width)
        self.state = Mlp(config.state_size, 2 * width, width)
        self.layers = nn.ModuleList([PrefixLayer(config) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(width)
        self.expert = Expert(config)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.expert.place.dtype

    def narrow_mlps(self) -> list[Mlp]:
        """Those that early exit can narrow, if it is installed."""
        return [module for module in self.modules() if isinstance(module, Mlp) and module.narrow]

    def cast_narrow(self) -> None:
        """Let narrow MLPs compute in what all else does."""
        for mlp in self.narrow_mlps():
            pairs = mlp.narrow.items()
            mlp.narrow = {skip: Narrow(*(t.to(self.dtype) for t in n)) for skip, n in pairs}

    def see(self, images: Tensor) -> Scene:
        """images [batch, cameras, 3, size, size] in [0, 1]."""
        stems = enumerate(self.stems)
        return Scene(tuple(stem(images[:, i]) for i, stem in stems))

    def tokens(self, scene: Scene, words: Tensor, state: Tensor) -> Tensor:
        """words [batch, longest_instruction] indices, state [batch, state_size] normalised.

        Returns [batch, tokens, width]: image tokens of each camera, instruction, state.
        """
        instruction = self.instruction(self.words(words).flatten(1))
        poolings = zip(self.poolings, scene.features, strict=True)
        images = [pool(features, instruction) for pool, features in poolings]
        measured = self.state(state.to(self.dtype))
        return torch.cat([*images, instruction[:, None], measured[:, None]], 1)

    def encode(self, tokens: Tensor, after_layer: AfterLayer = run_in_full) -> Tensor:
        """The prefix's last hidden states [batch, tokens, width]."""
        skip = 0.0
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens, skip)
            skip = after_layer(number, tokens)
        hidden: Tensor = self.norm(tokens)
        return hidden

    def prefix(self, hidden: Tensor) -> Prefix:
        """Keys and values for the expert; the latent is the mean over the tokens."""
        pairs = [layer.keys_values(hidden) for layer in self.expert.layers]
        keys, values = zip(*pairs, strict=True)
        return Prefix(tuple(keys), tuple(values), hidden.mean(1))

    def forward(self, images: Tensor, words: Tensor, state: Tensor) -> Prefix:
        """From an observation to the prefix."""
        return self.prefix(self.encode(self.tokens(self.see(images), words, state)))
