"""The parity gate: kernels against plain float32 arithmetic with the same weights, on this machine.

Not to be mixed up with fidelity, which says what fewer bits and steps cost. Here both sides have
the same weights, steps and exits; what differs is who multiplies. A kernel that is wrong, or that
a driver miscompiles, shows up as a difference that no rounding explains.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from salus_ros.interfaces import FloatArray
from salus_ros.policy.quantization.linear import LowBitLinear


@dataclass(frozen=True, slots=True)
class Tolerance:
    """least_cosine: of the flattened chunks. largest, p99: of |difference| / RMS of the exact."""

    least_cosine: float
    largest: float
    p99: float


TOLERANCES = {
    # Sums in another order: some 1e-6 after a hundred layers and ten steps.
    torch.float32: Tolerance(1.0 - 1e-6, 1e-3, 1e-4),
    # Eight bits of every activation, in as many layers: measured 0.3 to 1.5 % RMS.
    torch.bfloat16: Tolerance(0.999, 0.2, 0.06),
}


@dataclass(frozen=True, slots=True)
class Parity:
    """What was measured, and whether it is within the tolerance."""

    cosine: float
    largest: float
    p99: float
    passed: bool
    finite: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def parity(found: FloatArray, exact: FloatArray, kind: torch.dtype) -> Parity:
    """Chunks [n, rows, dims] of a configuration against those of its exact twin."""
    if not np.isfinite(found).all():
        return Parity(0.0, 0.0, 0.0, passed=False, finite=False)
    scale = max(float(np.sqrt((exact**2).mean())), 1e-12)
    off = np.abs(found - exact) / scale
    cosine = cosine_of(found, exact)
    largest, p99 = float(off.max()), float(np.percentile(off, 99))
    allowed = TOLERANCES[kind]
    passed = cosine >= allowed.least_cosine and largest <= allowed.largest and p99 <= allowed.p99
    return Parity(cosine, largest, p99, passed)


def cosine_of(a: FloatArray, b: FloatArray) -> float:
    """Of two arrays as vectors."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / max(size, 1e-30)


def relative_rmse(found: FloatArray, full: FloatArray) -> float:
    """|found - full| / |full| over all observations."""
    return float(np.linalg.norm(found - full) / max(float(np.linalg.norm(full)), 1e-30))


def break_kernel(module: nn.Module) -> bool:
    """Make one low-bit layer forget its last group of inputs, as a loop that ends too early does.

    For trying the gate. Returns whether there was such a layer.
    """
    for child in module.modules():
        if isinstance(child, LowBitLinear) and len(child.codes):
            child.register_forward_pre_hook(_without_last_group)
            return True
    return False


def _without_last_group(layer: LowBitLinear, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    x = inputs[0].clone()
    x[..., -(x.shape[-1] // len(layer.codes)) :] = 0.0
    return (x,)
