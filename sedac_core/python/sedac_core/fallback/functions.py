"""The functions of one array: soft ratio, entropy, softmax, quantile."""

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from sedac_core.fallback.checks import array, refuse_value, require

Floats = NDArray[np.float32]


@overload
def soft_exit_ratio(c: float) -> float: ...
@overload
def soft_exit_ratio(c: Floats) -> Floats: ...
def soft_exit_ratio(c: float | Floats) -> float | Floats:
    """Return the share of the MLP work to skip at accumulated confidence c.

    f(c) = tanh(2c - 1) / 2 + 1/2; c is a finite number, or finite float32 of any shape.
    """
    values = np.float32(c) if not isinstance(c, np.ndarray) else array("c", c, "", c.ndim)
    refuse_value("c", np.asarray(values), ~np.isfinite(values), "finite")
    ratio = np.tanh(np.float32(2) * values - np.float32(1)) * np.float32(0.5) + np.float32(0.5)
    return ratio if isinstance(c, np.ndarray) else float(ratio)


def _row_or_matrix(what: str, value: object) -> NDArray[Any]:
    ndim = 2 if isinstance(value, np.ndarray) and value.ndim == 2 else 1
    return array(what, value, "(n,)", ndim)


def entropy(probs: Floats) -> float | Floats:
    """Return the Shannon entropy along the last axis, in nats.

    probs: float32[classes] (a float comes back) or float32[batch, classes] (float32[batch]); each
    row in [0, 1] and of sum 1 to within 1e-3, else ValueError.
    """
    wide = _row_or_matrix("probs", probs).astype(np.float64)
    refuse_value("probs", wide, ~((wide >= 0) & (wide <= 1)), "from 0 to 1")
    sums = np.atleast_1d(wide.sum(axis=-1))
    expected = "probabilities that sum to 1 (the value is their sum)"
    refuse_value("probs", sums, np.abs(sums - 1) > 1e-3, expected)
    terms = wide * np.log(np.where(wide > 0, wide, 1.0))
    # Adding 0 turns the -0 of a certain outcome into 0.
    result = (-terms.sum(axis=-1) + 0.0).astype(np.float32)
    return result if wide.ndim == 2 else float(result)


def softmax(logits: Floats) -> Floats:
    """Return the softmax along the last axis, safe against overflow; -inf marks a masked entry.

    logits: float32[classes] or float32[batch, classes]. ValueError for NaN, +inf, or a row with
    nothing but masked entries.
    """
    wide = _row_or_matrix("logits", logits).astype(np.float64)
    refuse_value("logits", wide, np.isnan(wide) | (wide == np.inf), "finite or -inf")
    top = np.atleast_1d(wide.max(axis=-1, initial=-np.inf))
    refuse_value("logits", top, top == -np.inf, "a row with at least one finite entry")
    weights = np.exp(wide - (top[:, None] if wide.ndim == 2 else top))
    result: Floats = (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)
    return result


def quantile(data: Floats, q: float) -> float:
    """Return the q-quantile by linear interpolation, as numpy's default.

    data: float32[n], n >= 1, no NaN; q in [0, 1]; else ValueError.
    """
    values = array("data", data, "(n,)", 1).astype(np.float64)
    require(0 <= q <= 1, "q", q, "from 0 to 1")
    require(values.size > 0, "data", "empty", "at least one value")
    refuse_value("data", values, np.isnan(values), "a number")
    return float(np.quantile(values, q))
