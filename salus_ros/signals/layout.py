"""The vector of 12 signals: names, validity bits, ranges; as in Signals.msg."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray

LAYOUT_VERSION: Final = 1

SIGNAL_NAMES: tuple[str, ...] = (
    "action_volatility",
    "action_magnitude",
    "action_acceleration",
    "trajectory_divergence",
    "latent_drift",
    "latent_norm_spike",
    "ood_distance",
    "softmax_entropy",
    "max_softmax_prob",
    "execution_mismatch",
    "constraint_margin",
    "temporal_consistency",
)
SIGNALS: Final = len(SIGNAL_NAMES)
(
    VOLATILITY,
    MAGNITUDE,
    ACCELERATION,
    DIVERGENCE,
    LATENT_DRIFT,
    NORM_SPIKE,
    OOD_DISTANCE,
    ENTROPY,
    MAX_PROB,
    MISMATCH,
    MARGIN,
    CONSISTENCY,
) = range(SIGNALS)
ALL_VALID: Final = (1 << SIGNALS) - 1
OLD_LAYOUT_SIGNALS: Final = 18

# A vector whose norm is beyond this counts as not finite: its squares and quotients would leave
# the range of a double, or of the float32 that signals are published in.
LARGEST_NORM: Final = 1e30
LARGEST_SQUARE: Final = LARGEST_NORM**2
LARGEST_SIGNAL: Final = float(np.finfo(np.float32).max)


class SignalError(ValueError):
    """An input or a file that can't be used, in one line that says what to do."""


class SignalVector(NamedTuple):
    """The signals of one step: values [12] float32, finite; valid: bit i is on where i holds."""

    values: NDArray[np.float32]
    valid: int


def check_width(width: int, what: str) -> None:
    """Refuse signals of another layout. what: the data set, model or file, for the message."""
    if width == OLD_LAYOUT_SIGNALS:
        raise SignalError(
            f"{what} has the old 18-value layout (ensemble variance and perturbation signals), "
            f"which can't be converted to the {SIGNALS} signals: record again"
        )
    if width != SIGNALS:
        raise SignalError(f"{what} has {width} signals, not {SIGNALS}: record again")


def masked(values: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Signals [..., 12] with NaN where unknown, as float32 [..., 12] with 0, and bits [...]."""
    usable = np.abs(values) <= LARGEST_SIGNAL  # False for NaN.
    bits = np.left_shift(1, np.arange(SIGNALS))
    valid = np.asarray((usable * bits).sum(axis=-1), np.uint16)
    return np.where(usable, values, 0.0).astype(np.float32), valid


def square(vector: FloatArray) -> float:
    """Squared norm of a vector; NaN or inf where it holds one or overflows.

    vdot is the one product of numpy that does so without a warning, which costs more to switch
    off than the product itself.
    """
    return float(np.vdot(vector, vector))


def has(valid: int, signal: int) -> bool:
    """True where the signal's validity bit is on."""
    return bool(valid >> signal & 1)
