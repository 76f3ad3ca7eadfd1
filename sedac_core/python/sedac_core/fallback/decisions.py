"""Decisions: one token's, and a batch's in four arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedac_core.fallback.checks import output


@dataclass(frozen=True)
class ExitDecision:
    """The decision on one token.

    should_exit: whether it exits.
    exit_layer: the model's layer of the exit, or -1.
    accumulated_confidence: what the ratio follows from: the largest confidence since the exit, or,
        without an exit, the last.
    soft_exit_ratio: share of the MLP work that may be skipped, in [0, 1].
    """

    should_exit: bool
    exit_layer: int
    accumulated_confidence: float
    soft_exit_ratio: float


class ExitArrays:
    """The decisions on a batch, in four arrays of one length.

    ExitArrays(batch) makes arrays to reuse as `out`. Iterating gives the four in order.
    """

    __slots__ = ("_arrays",)

    def __init__(self, batch: int) -> None:
        self._arrays = (
            np.zeros(batch, np.bool_),
            np.zeros(batch, np.int32),
            np.zeros(batch, np.float32),
            np.zeros(batch, np.float32),
        )

    @property
    def should_exit(self) -> NDArray[np.bool_]:
        """Whether each token exits."""
        return self._arrays[0]

    @property
    def exit_layer(self) -> NDArray[np.int32]:
        """The model's layer of each token's exit, or -1."""
        return self._arrays[1]

    @property
    def accumulated_confidence(self) -> NDArray[np.float32]:
        """The confidence that the ratio follows from: the largest since the exit, or the last."""
        return self._arrays[2]

    @property
    def soft_exit_ratio(self) -> NDArray[np.float32]:
        """Share of the MLP work that may be skipped, in [0, 1]."""
        return self._arrays[3]

    def __len__(self) -> int:
        return len(self.exit_layer)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return iter(self._arrays)


def given_or_new(out: ExitArrays | None, batch: int) -> ExitArrays:
    """Return the given arrays if they fit the batch, or new ones."""
    if out is None:
        return ExitArrays(batch)
    output("out.should_exit", out.should_exit, batch, np.bool_)
    output("out.exit_layer", out.exit_layer, batch, np.int32)
    output("out.accumulated_confidence", out.accumulated_confidence, batch)
    output("out.soft_exit_ratio", out.soft_exit_ratio, batch)
    return out


def as_decisions(out: ExitArrays) -> list[ExitDecision]:
    """Return one object a token."""
    columns = (array.tolist() for array in out)
    return [ExitDecision(*values) for values in zip(*columns, strict=True)]
