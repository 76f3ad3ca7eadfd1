"""The reference expert of 25.5 M parameters: random weights, the same for everybody.

Its chunk is what the flow adds to the noise; the noise itself would hide every error.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from salus_ros.deploy.levers import Grid, Levers, horizon_values, step_values
from salus_ros.deploy.subject import samplers_of
from salus_ros.interfaces import FloatArray
from salus_ros.policy.flow.guidance import Held
from salus_ros.policy.flow.reference import STEPS, ReferenceExpert
from salus_ros.policy.flow.sampler import make_sampler
from salus_ros.policy.flow.speculative import SpeculativeSampler, make_speculative
from salus_ros.policy.quantization.precision import (
    PRECISIONS,
    make_exact,
    set_precision,
    weight_bytes,
)

WARM_UP_RUNS = 3
SEED = 0
TIME_STEP = 1.0 / 30.0


class _Flow:
    """The reference's velocities in float32, at a given number of steps."""

    def __init__(self, expert: ReferenceExpert, steps: int) -> None:
        self._expert = expert
        self._kind = expert.leave.weight.dtype
        self._times = [i * STEPS // steps for i in range(steps)]

    def __call__(self, x: Tensor, i: int, held: Held) -> Tensor:
        """Velocity at step i."""
        velocity: Tensor = self._expert.velocity(x.to(self._kind), self._times[i], held)
        return velocity.to(x.dtype)

    def at_all_steps(self, x: Tensor, _i: int, held: Held) -> Tensor:
        """x [steps, rows, dims], row k at step k."""
        times = torch.tensor(self._times, device=x.device)[:, None]
        velocity: Tensor = self._expert.velocity(x.to(self._kind), times, held)
        return velocity.to(x.dtype)


class BuiltReference:
    """An expert and its sampler, with the keys and values of one prefix."""

    def __init__(self, expert: ReferenceExpert, levers: Levers, mode: str, inputs: int) -> None:
        device = next(expert.parameters()).device
        generator = torch.Generator().manual_seed(SEED)
        shape = inputs, 1, expert.rows, expert.dims
        self._noise = torch.randn(shape, generator=generator).to(device)
        prefix = torch.randn(1, expert.prefix, expert.width, generator=generator).to(device)
        self._expert = expert
        with torch.no_grad():
            self._held = expert.held(prefix.to(expert.leave.weight.dtype))
        self._sampler = _sampler(expert, levers, mode, (self._noise[0], *self._held))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def __call__(self, number: int) -> FloatArray:
        """What the flow adds to a noise [rows, dims]."""
        noise = self._noise[number % len(self._noise)]
        drawn = self._sampler(noise, self._held) - noise
        return np.asarray(drawn[0].double().cpu().numpy())

    def warm_up(self) -> None:
        """A few calls."""
        for number in range(WARM_UP_RUNS):
            self(number)

    def weight_bytes(self) -> int:
        """The expert's."""
        return weight_bytes(self._expert)

    def drafts(self) -> tuple[int, int]:
        """Accepted and all."""
        sampler = self._sampler
        if not isinstance(sampler, SpeculativeSampler):
            return 0, 0
        return sampler.accepted, sampler.drafted

    def module(self) -> nn.Module:
        """The expert."""
        return self._expert


def _sampler(
    expert: ReferenceExpert, levers: Levers, mode: str, example: tuple[Tensor, ...]
) -> Any:
    flow, (noise, *held) = _Flow(expert, levers.flow_steps), example
    if not levers.draft_steps:
        return make_sampler(mode, flow, levers.flow_steps, noise, held)
    draft = _Flow(expert, levers.draft_steps)
    return make_speculative(mode, flow, draft, (levers.flow_steps, levers.draft_steps), example)


@dataclass(frozen=True, slots=True)
class ReferenceSubject:
    """See Subject; its digest says how its weights are drawn."""

    device: str
    inputs: int
    name: str = "reference"
    digest: str = hashlib.sha256(f"ReferenceExpert, seed {SEED}".encode()).hexdigest()
    context: str = ""
    rows: int = ReferenceExpert.rows
    time_step: float = TIME_STEP

    def grid(self) -> Grid:
        """Without early exit."""
        samplers, left_out = samplers_of(self.device)
        left_out["early_exit=certified"] = "the reference expert has no probes"
        values = {
            "precision": PRECISIONS,
            "flow_steps": step_values(STEPS),
            "sampler": samplers,
            "early_exit": ("off",),
            "draft_steps": (0, 2),
            "execution_horizon": horizon_values(self.rows),
        }
        return Grid(values, left_out)

    def build(self, levers: Levers, exact: bool = False) -> BuiltReference:
        """See Subject."""
        if self.device == "cpu":
            torch.set_num_threads(1)
        torch.manual_seed(SEED)
        expert = ReferenceExpert().to(self.device).eval().requires_grad_(False)
        set_precision(expert, levers.precision)
        if exact:
            make_exact(expert)
        return BuiltReference(expert, levers, "eager" if exact else levers.sampler, self.inputs)

    def options(self, _levers: Levers) -> dict[str, Any]:
        """The policy node doesn't run it."""
        return {}
