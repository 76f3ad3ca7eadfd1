"""The network of network.py in torch, to be trained; the same weights, the same numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional, init

from salus_ros.prediction.network import Array, NetworkConfig


class TorchNetwork:
    """Features [B, T, inputs] to logits [B, T, horizons, types] and [B, T]."""

    def __init__(self, config: NetworkConfig, dropout: float, seed: int = 0) -> None:
        """dropout: of whole channels, alike at all steps, as a fixed mask is later."""
        self.config = config
        self.dropout = dropout
        torch.manual_seed(seed)
        self.values: dict[str, Tensor] = {}
        for name, shape in config.shapes().items():
            value = torch.zeros(shape)
            if name == "head.weight":
                init.normal_(value, std=0.02)
            elif name.endswith("weight"):
                init.kaiming_uniform_(value.T, nonlinearity="relu")
            self.values[name] = value.requires_grad_()

    def __call__(self, steps: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Logits at each step, as Network.recording; in training with dropout."""
        rows = functional.pad(steps, (0, 0, self.config.window - 1, 0))
        for layer in range(self.config.layers):
            back = 2**layer
            pairs = torch.cat([rows[:, :-back], rows[:, back:]], dim=-1)
            weight, bias = self.values[f"layer{layer}.weight"], self.values[f"layer{layer}.bias"]
            found = torch.relu(pairs @ weight + bias)
            found = self._drop(found) if training and self.dropout else found
            rows = found if layer == 0 else rows[:, back:] + found
        return self._heads(rows)

    def _drop(self, rows: Tensor) -> Tensor:
        kept = 1.0 - self.dropout
        shape = (rows.shape[0], 1, rows.shape[2])
        return rows * torch.bernoulli(torch.full(shape, kept)) / kept

    def _heads(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        raw = rows @ self.values["head.weight"] + self.values["head.bias"]
        table = raw[..., :-1].unflatten(-1, (self.config.horizons, self.config.types))
        rises = functional.softplus(table[..., 1:, :])
        return torch.cat([table[..., :1, :], rises], dim=-2).cumsum(-2), raw[..., -1]

    def weights(self) -> dict[str, Array]:
        """Copies of the weights."""
        return {n: v.detach().numpy().astype(np.float32).copy() for n, v in self.values.items()}

    def load(self, weights: dict[str, Array]) -> None:
        """Take weights over."""
        with torch.no_grad():
            for name, value in self.values.items():
                value.copy_(torch.from_numpy(weights[name]))
