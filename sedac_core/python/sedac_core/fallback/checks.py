"""Checks of arguments, with the texts of the compiled core."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_TINY = float(np.finfo(np.float32).tiny)


def require(holds: bool, name: str, value: object, expected: str) -> None:
    """Raise ValueError naming the argument and its value unless the condition holds."""
    if not holds:
        raise ValueError(f"{name} is {value}; it must be {expected}")


def array(
    what: str, value: object, shape: str, ndim: int, dtype: type = np.float32
) -> NDArray[Any]:
    """Return the value if it is an array of this type and number of dimensions.

    Contiguous memory is used in place, any other layout is copied.
    """
    name = np.dtype(dtype).name
    if not isinstance(value, np.ndarray):
        kind = type(value).__name__
        raise ValueError(f"{what} is of type {kind}; it must be a numpy array of {name}")
    if value.dtype != dtype:
        raise ValueError(f"{what} is of dtype {value.dtype}; it must be a numpy array of {name}")
    if value.ndim != ndim:
        raise ValueError(f"{what} has shape {value.shape}; it must have shape {shape}")
    return np.ascontiguousarray(value)


def rows(what: str, value: object, checkpoints: int, dtype: type = np.float32) -> NDArray[Any]:
    """Return a matrix with one row a checkpoint."""
    matrix = array(what, value, "(num_layers, batch)", 2, dtype)
    if len(matrix) != checkpoints:
        raise ValueError(
            f"{what} has shape {matrix.shape}; it must have shape ({checkpoints}, batch)"
        )
    return matrix


def output(what: str, value: object, batch: int, dtype: type = np.float32) -> NDArray[Any]:
    """Return an array to write to: of this length, contiguous, writeable."""
    array(what, value, f"({batch},)", 1, dtype)
    assert isinstance(value, np.ndarray)
    if len(value) != batch:
        raise ValueError(f"{what} has shape {value.shape}; it must have shape ({batch},)")
    for holds, reason in (
        (value.flags.c_contiguous, "is not contiguous"),
        (value.flags.writeable, "is read-only"),
    ):
        if not holds:
            raise ValueError(
                f"{what} {reason}; give an array of its own that is contiguous and writeable"
            )
    return value


def apart(what: str, value: NDArray[Any], other: NDArray[Any]) -> None:
    """Refuse an output that shares memory with an input."""
    if np.may_share_memory(value, other):
        raise ValueError(
            f"{what} shares memory with another argument or is in use by another thread; "
            "give an array of its own that is contiguous and writeable"
        )


def is_clean(risk: NDArray[np.float32]) -> bool:
    """Whether every risk is finite and not negative; NaN fails both comparisons."""
    return risk.size == 0 or bool(risk.min() >= 0 and risk.max() <= FLOAT32_MAX)


def invalid_risks(risk: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark the risks that are negative or not finite."""
    return ~((risk >= 0) & (risk <= FLOAT32_MAX))


def refuse_risk(risk: NDArray[np.float32], bad: NDArray[np.bool_], first: int = 0) -> None:
    """Raise ValueError for the first marked risk; rows are checkpoints from `first` on."""
    if not bad.any():
        return
    checkpoint, token = np.argwhere(np.atleast_2d(bad))[0]
    value = np.atleast_2d(risk)[checkpoint, token]
    raise ValueError(
        f"risk is {value} at checkpoint {first + checkpoint}, token {token}; it must be finite "
        "and >= 0 (strict=False counts such risks and treats them as not confident)"
    )


def refuse_value(what: str, values: NDArray[Any], bad: NDArray[np.bool_], expected: str) -> None:
    """Raise ValueError for the first marked value of an array."""
    if bad.any():
        index = int(np.argmax(bad.ravel()))
        value = values.ravel()[index]
        raise ValueError(f"{what} holds {value} at index {index}; it must be {expected}")


def checkpoint_index(index: int, count: int) -> int:
    """Return the index, or raise IndexError if there is no such checkpoint."""
    if not 0 <= index < count:
        raise IndexError(
            f"checkpoint {index} does not exist; this controller has {count}, counted from 0"
        )
    return index


def uncertainties(values: Sequence[float] | None, checkpoints: int, adaptive: bool) -> list[float]:
    """Return one uncertainty a checkpoint; 0 where none is given."""
    if not values:
        return [0.0] * checkpoints
    if len(values) != checkpoints:
        raise ValueError(
            f"uncertainty has shape ({len(values)},); it must have shape ({checkpoints},)"
        )
    return [uncertainty(value, adaptive) for value in values]


def uncertainty(value: float, adaptive: bool) -> float:
    """Return the uncertainty of a step if it is in range and has an effect."""
    require(0 <= value <= 1, "uncertainty", value, "from 0 to 1")
    if value != 0 and not adaptive:
        raise ValueError(
            f"uncertainty {value} was given but adaptive_decay is off; "
            "construct with adaptive_decay=True"
        )
    return float(value)


def from_environment(name: str, text: str, expected: str, parse: Callable[[str], Any]) -> Any:
    """Parse the value of an environment variable, or say which one is malformed."""
    try:
        value = parse(text)
    except (ValueError, KeyError):
        value = None
    if value is None:
        raise ValueError(f'environment variable {name} is "{text}"; it must be {expected}')
    return value
