"""Where the next measurement of the same thing is expected."""

from __future__ import annotations

import math

import numpy as np

from salus_ros.interfaces import FloatArray

T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom."""
LEAST_SPREAD = 0.02
"""Of logarithms: a handful of processes may agree by chance, a clock steps by about as much."""


def prediction_interval(values: FloatArray) -> tuple[float, float, float]:
    """Geometric mean, and the 95 % interval of one more value; values [n] above 0.

    Of a log-normal quantity: mean ± t * s * sqrt(1 + 1/n) of the logarithms. With one value the
    spread is unknown: the interval has no upper end.
    """
    logs = np.log(np.maximum(values, 1e-12))
    n, middle = len(logs), float(np.mean(logs))
    if n < 2:
        return math.exp(middle), 0.0, math.inf
    spread = max(float(np.std(logs, ddof=1)), LEAST_SPREAD)
    half = T_975[min(n - 1, len(T_975)) - 1] * spread * math.sqrt(1.0 + 1.0 / n)
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)
