"""Floating-point operations of MLPs per chunk; a multiply and an add are two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from salus_ros.policy.early_exit.buckets import kept_channels


@dataclass(frozen=True, slots=True)
class MlpCost:
    """One MLP: `rows` tokens go through it per pass, `passes` times a chunk.

    projections: width in and out together, for each hidden channel (gate, up and down). layer: the
    prefix layer that it belongs to; None: one that follows all of them (the action expert's), or
    one that is never narrowed.
    """

    rows: int
    passes: int
    hidden: int
    projections: int
    layer: int | None = None
    narrows: bool = True

    def flops(self, skip: float = 0.0) -> int:
        """Of a chunk."""
        kept = kept_channels(self.hidden, skip)
        return 2 * self.rows * self.passes * self.projections * kept


def mlp_flops(costs: Sequence[MlpCost], layer_skips: Sequence[float], last_skip: float) -> int:
    """Of all MLPs of a chunk.

    layer_skips: the share skipped in each prefix layer; last_skip: in all that follows.
    """
    total = 0
    for cost in costs:
        skip = last_skip if cost.layer is None else layer_skips[cost.layer]
        total += cost.flops(skip if cost.narrows else 0.0)
    return total


def probe_flops(width: int, rank: int, tokens: int) -> int:
    """Of one probe on all tokens of the prefix."""
    return 2 * tokens * rank * (width + 1)
