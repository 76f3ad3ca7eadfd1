"""Narrow stand-ins for an MLP, made once from what its hidden channels do on recorded data.

- mask: the skipped channels are computed and set to 0: a reference that saves nothing.
- truncate: only the first channels are computed.
- importance: the channels are ordered by importance, then the first are computed. Importance is
  the root mean square of a channel times the norm of its column in the down-projection: how much
  the output changes without it.
- refit: as importance, and the down-projection of the kept channels is fitted anew, by least
  squares, to what the whole MLP puts out: kept channels take over what they can of those left out.

The full MLP is never touched: ratio 0 is the model that was trained, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from salus_ros.policy.early_exit.buckets import NARROW, kept_channels

Method = Literal["mask", "truncate", "importance", "refit"]
METHODS: tuple[Method, ...] = ("mask", "truncate", "importance", "refit")
RIDGE = 1e-5
"""Of the least squares, as a share of the channels' mean variance."""


@dataclass(frozen=True, slots=True, eq=False)
class ChannelStatistics:
    """mean [hidden] and covariance [hidden, hidden] of an MLP's hidden channels, float64."""

    mean: Tensor
    covariance: Tensor

    @property
    def mean_square(self) -> Tensor:
        """[hidden]."""
        return self.covariance.diagonal() + self.mean.square()


@dataclass(frozen=True, slots=True, eq=False)
class MlpWeights:
    """Projections into the hidden channels, each [hidden, width] (gate and up, or up alone).

    up_biases: theirs [hidden], or none. down [out, hidden], down_bias [out].
    """

    ups: tuple[Tensor, ...]
    up_biases: tuple[Tensor, ...]
    down: Tensor
    down_bias: Tensor


class _Sums:
    """Adds up first and second moments of [..., hidden] activations."""

    def __init__(self) -> None:
        self.count = 0
        self.first: Any = 0.0
        self.second: Any = 0.0

    def add(self, _module: object, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].detach().flatten(0, -2).double().cpu()
        self.count += len(x)
        self.first = self.first + x.sum(0)
        self.second = self.second + x.T @ x

    def statistics(self) -> ChannelStatistics:
        mean = self.first / self.count
        return ChannelStatistics(mean, self.second / self.count - torch.outer(mean, mean))


def channel_statistics(
    downs: Mapping[str, Any], run: Callable[[], object]
) -> dict[str, ChannelStatistics]:
    """Statistics of the inputs of these down-projections (modules) while `run` runs."""
    sums = {name: _Sums() for name in downs}
    hooks = [m.register_forward_pre_hook(sums[name].add) for name, m in downs.items()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return {name: s.statistics() for name, s in sums.items()}


def channel_order(weights: MlpWeights, statistics: ChannelStatistics, method: Method) -> Tensor:
    """Hidden channels, those to keep first [hidden]."""
    if method in ("mask", "truncate"):
        return torch.arange(weights.down.shape[1])
    root = statistics.mean_square.clamp_min(0.0).sqrt()
    importance = root * weights.down.detach().double().norm(dim=0).cpu()
    return importance.argsort(descending=True, stable=True)


def narrow_weights(
    weights: MlpWeights, statistics: ChannelStatistics, method: Method
) -> dict[float, MlpWeights]:
    """Of each bucket that skips anything. Up-projections are views of one ordered copy."""
    order = channel_order(weights, statistics, method).to(weights.down.device)
    if method == "mask":
        return {skip: _masked(weights, order, skip) for skip in NARROW}
    ordered = [up.detach()[order].contiguous() for up in weights.ups]
    biases = [bias.detach()[order].contiguous() for bias in weights.up_biases]
    narrow = {}
    for skip in NARROW:
        kept = kept_channels(len(order), skip)
        down, bias = _down(weights, statistics, order, kept, method)
        ups = tuple(up[:kept] for up in ordered)
        narrow[skip] = MlpWeights(ups, tuple(b[:kept] for b in biases), down, bias)
    return narrow


def _masked(weights: MlpWeights, order: Tensor, skip: float) -> MlpWeights:
    down = weights.down.detach().clone()
    down[:, order[kept_channels(len(order), skip) :]] = 0.0
    return MlpWeights(weights.ups, weights.up_biases, down, weights.down_bias)


def _down(
    weights: MlpWeights, statistics: ChannelStatistics, order: Tensor, kept: int, method: Method
) -> tuple[Tensor, Tensor]:
    keep, skipped = order[:kept], order[kept:]
    down, bias = weights.down.detach(), weights.down_bias.detach()
    if method != "refit":
        return down[:, keep].contiguous(), bias
    exact = down.double().cpu()
    keep, skipped = keep.cpu(), skipped.cpu()
    covariance, mean = statistics.covariance, statistics.mean
    # E[skipped | kept] = mean + covariance_sk covariance_kk^-1 (kept - mean), put through `down`.
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(kept, dtype=torch.float64)
    taken = torch.linalg.solve(covariance[keep][:, keep] + ridge, covariance[keep][:, skipped])
    moved = exact[:, skipped] @ taken.T
    constant = exact[:, skipped] @ mean[skipped] - moved @ mean[keep]
    refitted = (exact[:, keep] + moved).to(down)
    return refitted.contiguous(), bias + constant.to(bias)
