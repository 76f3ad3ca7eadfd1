"""Euler steps that continue a plan: pseudo-inverse guidance of real-time chunking.

Black, Galliker, Levine, "Real-Time Execution of Action Chunking Flow Policies", arXiv 2506.07339,
equations 2 to 4. At flow time t (0 noise, 1 chunk) a step predicts the clean chunk
x1 = x + (1 - t) v. Where it misses the plan, the error goes back through the network to x:

    v' = v + g(t) * J^T (weights * (plan - x1)),    J = d x1 / d x,
    g(t) = min(maximum, (1 - t) / (t r^2)),         r^2 = (1 - t)^2 / (t^2 + (1 - t)^2).

The vector-Jacobian product costs a backward pass for each step, so only the chunk that will be
executed is guided; other samples of the batch, which the action distribution is made of, are what
they would be without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Held = tuple[Tensor, ...]
Step = Callable[[Tensor, int, Held], Tensor]

LARGEST_WEIGHT = 10.0
"""g(t) at most: more makes few Euler steps overshoot (the paper's value)."""


class Guide(NamedTuple):
    """plan [1, rows, dims] and weights [1, rows, 1] in [0, 1], in the flow's own units."""

    plan: Tensor
    weights: Tensor


def guidance_weight(time: float, maximum: float = LARGEST_WEIGHT) -> float:
    """g(t) for a flow time in [0, 1)."""
    if time <= 0.0:
        return maximum
    left = 1.0 - time
    return min(maximum, (time * time + left * left) / (time * left))


def integrate_guided(step: Step, steps: int, noise: Tensor, held: Held, guide: Guide) -> Tensor:
    """Euler steps from noise [batch, rows, dims] to a chunk; its first sample is guided."""
    x, others = noise[:1], noise[1:]
    for i in range(steps):
        x = x + _guided_velocity(step, steps, i, x, held, guide) / steps
        if len(others):
            others = others + step(others, i, held) / steps
    return torch.cat([x, others])


def _guided_velocity(step: Step, steps: int, i: int, x: Tensor, held: Held, guide: Guide) -> Tensor:
    time = i / steps
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        velocity = step(x, i, held)
        clean = x + (1.0 - time) * velocity
        error = (guide.weights * (guide.plan - clean)).detach()
        (correction,) = torch.autograd.grad(clean, x, error)
    return velocity.detach() + guidance_weight(time) * correction
