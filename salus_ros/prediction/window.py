"""The causal window over the signals that a failure model looks at."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from salus_ros.signals.layout import SIGNALS, SignalError, SignalVector, check_width

# 32 steps are about a second at 30 Hz: twice the longest horizon.
WINDOW_STEPS = 32


class SignalWindow:
    """The last `steps` signal vectors with their validity, oldest first.

    Before history begins, values are 0 and invalid: a model tells that from a measured 0.
    """

    def __init__(self, steps: int = WINDOW_STEPS) -> None:
        if steps < 1:
            raise SignalError(f"the window has {steps} steps: give at least 1")
        self._steps = steps
        # Each row is written twice, half the buffer apart, so that the window is always one slice.
        self._values = np.zeros((2 * steps, SIGNALS), np.float32)
        self._valid = np.zeros((2 * steps, SIGNALS), np.bool_)
        self._next = 0
        self._source_id = ""

    def reset(self) -> None:
        """Forget the past: an episode or a new instruction begins."""
        self._values[:] = 0.0
        self._valid[:] = False
        self._next = 0

    def add(self, signals: SignalVector, source_id: str = "") -> None:
        """Take in the next step; another source_id begins anew. Raises SignalError at a bad one."""
        valid = known_bits(signals)
        if source_id != self._source_id:
            self.reset()
            self._source_id = source_id
        values = np.where(valid, signals.values, 0.0)
        for row in (self._next, self._next + self._steps):
            self._values[row] = values
            self._valid[row] = valid
        self._next = (self._next + 1) % self._steps

    def contents(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Copies of values [steps, 12] and validity [steps, 12]."""
        window = slice(self._next, self._next + self._steps)
        return self._values[window].copy(), self._valid[window].copy()


def known_bits(signals: SignalVector) -> NDArray[np.bool_]:
    """[12]: which signals of a step can be used. Raises SignalError at another layout."""
    check_width(len(signals.values), "a signal vector")
    return known_values(signals.values, np.array(signals.valid))


def known_values(
    values: NDArray[np.float32], valid: NDArray[np.uint16] | NDArray[np.int_]
) -> NDArray[np.bool_]:
    """[..., 12]: which signals can be used, of values [..., 12] and validity bits [...]."""
    bits = valid[..., None].astype(np.int64) >> np.arange(SIGNALS) & 1
    return np.asarray((bits == 1) & np.isfinite(values))


def recording_windows(
    values: NDArray[np.float32], valid: NDArray[np.uint16], steps: int = WINDOW_STEPS
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The window at each step of an episode: values and validity [T, steps, 12], read-only views.

    values [T, 12], valid [T] bits, of one episode without a reset inside. Equal to what
    `SignalWindow` holds after each step.
    """
    if values.ndim != 2 or len(valid) != len(values):
        raise SignalError(
            f"signals of shape {values.shape} with {len(valid)} validity bits: [steps, {SIGNALS}] "
            "and one a step are needed"
        )
    check_width(values.shape[1], "the recording")
    known = known_values(values, valid)
    before = np.zeros((steps - 1, SIGNALS))
    padded = np.concatenate([before, np.where(known, values, 0.0)]).astype(np.float32)
    flags = np.concatenate([before.astype(np.bool_), known])
    return _windows(padded, steps), _windows(flags, steps)


def _windows(rows: NDArray, steps: int) -> NDArray:  # type: ignore[type-arg]
    return np.swapaxes(sliding_window_view(rows, steps, axis=0), 1, 2)
