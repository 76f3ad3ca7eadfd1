"""What a model calls after each layer of its prefix, so that it knows how much to skip."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

AfterLayer = Callable[[int, Tensor], float]
"""From a layer's number and its output to the share of MLP channels that the next ones skip."""


def run_in_full(_layer: int, _tokens: Tensor) -> float:
    """The AfterLayer that skips nothing."""
    return 0.0
