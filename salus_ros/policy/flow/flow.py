"""One step of the flow with this package's expert, everything constant made beforehand."""

from __future__ import annotations

import torch
from torch import Tensor

from salus_ros.policy.flow.guidance import Held
from salus_ros.policy.flow.network import Expert, Prefix
from salus_ros.policy.flow.sampler import flow_times


class ExpertStep:
    """Velocity of the flow at each Euler step; `held` are the prefix's keys, then its values.

    skip: share of the MLPs' channels that is left out, in all steps.
    """

    def __init__(self, expert: Expert, steps: int, skip: float = 0.0) -> None:
        self._expert = expert
        self._skip = skip
        self._times = flow_times(steps)
        device = next(expert.parameters()).device
        with torch.no_grad():
            times = [torch.tensor([t], device=device) for t in self._times]
            self._modulations = [expert.modulations(time) for time in times]
        self._all = tuple(torch.cat(layer) for layer in zip(*self._modulations, strict=True))
        self._left = 1.0 - torch.tensor(self._times, device=device)[:, None, None]

    def __call__(self, x: Tensor, i: int, held: Held) -> Tensor:
        """x [batch, rows, dims] at step i; held of batch 1 serves the whole batch."""
        return (self._clean(x, self._modulations[i], held) - x) / (1.0 - self._times[i])

    def at_all_steps(self, x: Tensor, _i: int, held: Held) -> Tensor:
        """x [steps, rows, dims], row k at step k; held of batch 1."""
        return (self._clean(x, self._all, held) - x) / self._left

    def _clean(self, x: Tensor, modulations: tuple[Tensor, ...], held: Held) -> Tensor:
        half = len(held) // 2
        prefix = Prefix(held[:half], held[half:], x)
        clean: Tensor = self._expert(x, prefix, modulations, self._skip)
        return clean


def held_of(prefix: Prefix) -> Held:
    """What stays the same over the flow."""
    return (*prefix.keys, *prefix.values)
