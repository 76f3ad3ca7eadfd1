"""From hidden states to exits, layer by layer, for one chunk or a batch of independent ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salus_ros.interfaces import EarlyExit
from salus_ros.policy.early_exit.buckets import NARROW, rounded_down
from salus_ros.policy.early_exit.settings import EarlyExitError, ExitSetting
from salus_ros.policy.probe import LREProbe
from sedac_core import CascadeRun

ROUTE = "chunk"
"""One decision a chunk: the risk of its riskiest token counts."""


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

    def after_layer(self, number: int, tokens: Tensor) -> float:
        """The share that a chunk skips from here on; tokens [1, tokens, width]."""
        return float(self.after_layer_of_batch(number, tokens)[0])

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
