"""The exit rule in numpy: vectorised, in place, in memory that is taken once a batch size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sedac_core.fallback.decisions import ExitArrays

Floats = NDArray[np.float32]

NO_EXIT = -1
_ZERO, _HALF, _ONE, _TWO = (np.float32(value) for value in (0, 0.5, 1, 2))


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint in float32: numbers, or one value a token where routes are mixed."""

    layer_idx: NDArray[np.int32]
    threshold: Floats
    weight: Floats
    target: Floats


class Tokens:
    """The state of a batch and room for intermediate results."""

    def __init__(self, batch: int) -> None:
        self.confidence = np.zeros(batch, np.float32)
        self.best = np.zeros(batch, np.float32)
        self.exited = np.zeros(batch, np.bool_)
        # How many checkpoints have passed since the exit, this one included: with the table of
        # layers it gives the exit layer, in a third of the time of masked assignments.
        self.passed = np.zeros(batch, np.uint8)
        self.fed = 0
        self._values = np.empty(batch, np.float32)
        self.flags = np.empty(batch, np.bool_)
        self._index = np.empty(batch, np.intp)
        self._tokens = np.arange(batch)

    def clear(self) -> None:
        """Back to the state before the first checkpoint."""
        self.confidence.fill(0)
        self.best.fill(0)
        self.exited.fill(False)
        self.passed.fill(0)
        self.fed = 0

    def step(
        self,
        checkpoint: Checkpoint,
        decay: np.float32,
        risk: Floats,
        invalid: NDArray[np.bool_] | None,
    ) -> None:
        """Feed one checkpoint; risks marked as invalid give no confidence."""
        values, flags = self._values, self.flags
        np.subtract(checkpoint.threshold, risk, out=values)
        np.divide(values, checkpoint.threshold, out=values)
        # No upper bound is needed: a risk that is not negative never gives more than 1.
        np.maximum(values, _ZERO, out=values)
        if invalid is not None:
            values[invalid] = 0
        np.multiply(values, checkpoint.weight, out=values)
        np.multiply(self.confidence, decay, out=self.confidence)
        np.add(self.confidence, values, out=self.confidence)
        np.greater_equal(self.confidence, checkpoint.target, out=flags)
        np.logical_or(self.exited, flags, out=self.exited)
        np.add(self.passed, self.exited.view(np.uint8), out=self.passed)
        np.multiply(self.confidence, self.exited, out=values)
        np.maximum(self.best, values, out=self.best)
        self.fed += 1

    def ratios(self, soft: bool, out: Floats) -> None:
        """Write the skip ratio of every token: 0 before the exit, f(best) or 1 after it."""
        if not soft:
            np.copyto(out, self.exited)
            return
        np.multiply(self.best, _TWO, out=out)
        np.subtract(out, _ONE, out=out)
        np.tanh(out, out=out)
        np.multiply(out, _HALF, out=out)
        np.add(out, _HALF, out=out)
        np.multiply(out, self.exited, out=out)

    def conclude(self, soft: bool, layers: NDArray[np.int32], out: ExitArrays) -> None:
        """Write the decisions; `layers` holds one row a checkpoint, of one or `batch` columns."""
        self.ratios(soft, out.soft_exit_ratio)
        np.copyto(out.should_exit, self.exited)
        np.copyto(out.accumulated_confidence, self.confidence)
        np.copyto(out.accumulated_confidence, self.best, where=self.exited)
        # Row p of the table: the layer of a token whose exit is p checkpoints back; 0 is none.
        none = np.full_like(layers[:1], NO_EXIT)
        table = np.concatenate([none, layers[: self.fed][::-1]])
        if layers.shape[1] == 1:
            # numpy would make this copy itself, in new memory.
            np.copyto(self._index, self.passed)
            np.take(table[:, 0], self._index, out=out.exit_layer, mode="clip")
        else:
            np.copyto(out.exit_layer, table[self.passed, self._tokens])
