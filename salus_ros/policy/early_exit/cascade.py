"""From hidden states to exits, layer by layer, for one chunk or a batch of independent ones."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from salus_ros.interfaces import EarlyExit
from salus_ros.policy.early_exit.buckets import BUCKETS, NARROW, rounded_down
from salus_ros.policy.early_exit.settings import EarlyExitError, ExitSetting
from salus_ros.policy.probe import LARGEST_STATE, LREProbe
from sedac_core import CascadeRun

SOFTPLUS_IS_LINEAR = 20.0
"""Beyond this torch's softplus returns its argument."""
ROUTE = "chunk"
"""One decision a chunk: the risk of its riskiest token counts."""


def quick_risk(probe: LREProbe, tokens: Tensor) -> float:
    """`probe.sequence_risk` of one sequence [1, tokens, width]."""
    hidden = tokens[0].to(probe.down.weight.dtype).clamp(-LARGEST_STATE, LARGEST_STATE)
    low = functional.linear(hidden, probe.down.weight)
    low = functional.layer_norm(
        low, low.shape[-1:], probe.norm.weight, probe.norm.bias, probe.norm.eps
    )
    # Softplus rises, so that of the largest token's value is the largest.
    largest = float(functional.linear(low, probe.up.weight, probe.up.bias).max())
    if not math.isfinite(largest):
        return float(probe.sequence_risk(tokens)[0])
    return largest if largest > SOFTPLUS_IS_LINEAR else math.log1p(math.exp(largest))


class ExitRule:
    """Probes and a setting of one model.

    probes: by the layer that they follow. depth: layers of the model that are watched. Raises
    EarlyExitError where a probe follows a layer that the model doesn't have, or the setting has
    another number of checkpoints.
    """

    def __init__(self, probes: Mapping[int, LREProbe], setting: ExitSetting, depth: int) -> None:
        self.checkpoints = tuple(sorted(probes))
        if not self.checkpoints or not 0 <= self.checkpoints[0] <= self.checkpoints[-1] < depth:
            raise EarlyExitError(
                f"early exit: checkpoints {self.checkpoints} don't fit a model with {depth} layers"
            )
        if len(setting.thresholds) != len(self.checkpoints):
            raise EarlyExitError(
                f"early exit: the setting has {len(setting.thresholds)} thresholds, there are "
                f"{len(self.checkpoints)} probes"
            )
        self.setting = setting
        self._probes = probes
        self._controller = setting.controller(self.checkpoints, depth)

    @property
    def skips(self) -> tuple[float, ...]:
        """Every share that a chunk may end with: one captured graph each."""
        if self.setting.kind == "fixed":
            return (self.setting.ratio,)
        return (0.0, *NARROW) if self.setting.kind == "soft" else (0.0, 1.0)

    def probe_sizes(self) -> list[tuple[int, int]]:
        """Width and rank of each probe."""
        return [(p.down.in_features, p.down.out_features) for p in self._probes.values()]

    def begin(self, batch: int = 1) -> Cascade:
        """Start a batch of chunks, each of which exits for itself."""
        return Cascade(self._probes, self.checkpoints, self.setting, self._controller.begin(batch))


class Cascade:
    """The exits of one batch of chunks while its layers run."""

    def __init__(
        self,
        probes: Mapping[int, LREProbe],
        checkpoints: tuple[int, ...],
        setting: ExitSetting,
        run: CascadeRun,
    ) -> None:
        self._probes, self._checkpoints = probes, checkpoints
        self._setting, self._run = setting, run
        self.skips: NDArray[np.float64] = np.zeros(run.batch)
        self.layers: NDArray[np.int64] = np.full(run.batch, -1)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def after_layer(self, number: int, tokens: Tensor) -> float:
        """The share that a chunk skips from here on; tokens [1, tokens, width].

        What `after_layer_of_batch` gives for a batch of one, with few small operations: while a
        robot waits, these cost more than the arithmetic in them.
        """
        before = float(self.skips[0])
        if number not in self._probes:
            return before
        share = self._setting.ratio
        if self._setting.kind != "fixed":
            risk = np.array([quick_risk(self._probes[number], tokens)], np.float32)
            ratio = self._run.step(self._checkpoints.index(number), risk)
            share = BUCKETS[bisect_right(BUCKETS, float(ratio[0])) - 1]
        self.skips[0] = share
        if not before and share:
            self.layers[0] = number
        return share

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def after_layer_of_batch(self, number: int, tokens: Tensor) -> NDArray[np.float64]:
        """The share that each chunk skips from here on [batch]; tokens [batch, tokens, width]."""
        if number not in self._probes:
            return self.skips
        if self._setting.kind == "fixed":
            ratio = np.full(len(self.skips), self._setting.ratio)
        else:
            risk = self._probes[number].sequence_risk(tokens).float().cpu().numpy()
            ratio = self._run.step(self._checkpoints.index(number), risk)
        before, self.skips = self.skips, rounded_down(ratio)
        self.layers[(before == 0.0) & (self.skips > 0.0)] = number
        return self.skips

    def exits(self) -> tuple[EarlyExit, ...]:
        """Of the first chunk: after which layer it began to skip, and how much at the end."""
        return (EarlyExit(ROUTE, int(self.layers[0]), float(self.skips[0])),)
