"""A few-step draft, verified by the full sampler's own velocities; all steps where it fails.

The draft proposes a chunk p from noise n in few Euler steps. The straight line from n to p holds
the points x_i = (1 - t_i) n + t_i p at the times t_i of the full sampler; one pass over all of them
as a batch gives the velocities v_i, and with them what the full sampler would make of the line,
r = n + mean(v_i): one Picard sweep of its integral (Shih et al., "Parallel Sampling of Diffusion
Models", arXiv 2305.16317). Where |r - p| <= tolerance * |r| the draft is accepted. Only the first
sample, which is executed, is judged. So a call costs draft + verification, and all steps on top
where the draft is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from salus_ros.policy.flow.guidance import Guide, Step
from salus_ros.policy.flow.sampler import Sampler, flow_times, make_sampler

TOLERANCE = 0.05
"""Largest relative error of a draft that is accepted."""


class SteppedFlow(Protocol):
    """A flow that can be stepped, also at all of its times at once."""

    def __call__(self, x: Tensor, i: int, held: tuple[Tensor, ...]) -> Tensor:
        """Velocity at step i."""

    def at_all_steps(self, x: Tensor, i: int, held: tuple[Tensor, ...]) -> Tensor:
        """x [steps, rows, dims], row k at the time of step k: velocities, likewise."""


class SpeculativeSampler:
    """See the module. `drafted` and `accepted` count calls."""

    def __init__(
        self, draft: Sampler, sweep: Sampler, full: Sampler, steps: int, device: torch.device
    ) -> None:
        """sweep: one step of `at_all_steps`, whose result is points + velocities."""
        self._draft, self._sweep, self._full = draft, sweep, full
        times = torch.tensor(flow_times(steps), device=device)
        self._times = times[:, None, None]
        self.drafted = self.accepted = 0

    @torch.no_grad()
    def __call__(self, noise: Tensor, held: Sequence[Tensor], guide: Guide | None = None) -> Tensor:
        """Chunk of the noise's shape [batch, rows, dims]; guided chunks take all steps."""
        if guide is not None:
            return self._full(noise, held, guide)
        proposal = self._draft(noise, held)
        self.drafted += 1
        if self.error_of(proposal[:1], noise[:1], held) <= TOLERANCE:
            self.accepted += 1
            return proposal
        return self._full(noise, held)

    def error_of(self, proposal: Tensor, noise: Tensor, held: Sequence[Tensor]) -> float:
        """Relative error of a proposal [1, rows, dims] as the sweep sees it."""
        points = (1.0 - self._times) * noise + self._times * proposal
        velocities = self._sweep(points, held) - points
        refined = noise + velocities.mean(0, keepdim=True)
        off = (refined - proposal).norm() / refined.norm().clamp_min(1e-6)
        return float(off)


def make_speculative(
    mode: str, flow: SteppedFlow, draft: Step, steps: tuple[int, int], example: tuple[Tensor, ...]
) -> SpeculativeSampler:
    """steps: of the full sampler and of the draft. example: noise, then what is held.

    Raises ValueError unless the draft has fewer steps.
    """
    full_steps, draft_steps = steps
    if not 1 <= draft_steps < full_steps:
        raise ValueError(
            f"draft_steps is {draft_steps}: it must be from 1 to below flow_steps, {full_steps}"
        )
    noise, *held = example
    points = noise[:1].expand(full_steps, -1, -1).contiguous()
    return SpeculativeSampler(
        make_sampler(mode, draft, draft_steps, noise, held),
        make_sampler(mode, flow.at_all_steps, 1, points, held),
        make_sampler(mode, flow, full_steps, noise, held),
        full_steps,
        noise.device,
    )
