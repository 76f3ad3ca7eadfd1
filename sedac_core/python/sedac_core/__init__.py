"""SEDAC: cross-layer early exit for transformers.

The compiled core where it is built, the same surface in numpy where it is not.
"""

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sedac_core import _core as _implementation
else:
    try:
        from sedac_core import _core as _implementation
    except ImportError as error:
        from sedac_core import fallback as _implementation

        warnings.warn(
            f"sedac_core runs on its slower numpy fallback ({error}); for the compiled core, "
            "install Rust (https://rustup.rs) and run: pip install ./sedac_core",
            RuntimeWarning,
            stacklevel=2,
        )

CascadeController = _implementation.CascadeController
CascadeRun = _implementation.CascadeRun
ExitArrays = _implementation.ExitArrays
ExitDecision = _implementation.ExitDecision
LayerConfig = _implementation.LayerConfig
WeightFit = _implementation.WeightFit
entropy = _implementation.entropy
fit_weights = _implementation.fit_weights
quantile = _implementation.quantile
soft_exit_ratio = _implementation.soft_exit_ratio
softmax = _implementation.softmax
solve_confidence_targets = _implementation.solve_confidence_targets

COMPILED: bool = _implementation.__name__.endswith("_core")
"""Whether the compiled core is in use rather than the numpy fallback."""

__all__ = [
    "COMPILED",
    "CascadeController",
    "CascadeRun",
    "ExitArrays",
    "ExitDecision",
    "LayerConfig",
    "WeightFit",
    "entropy",
    "fit_weights",
    "quantile",
    "soft_exit_ratio",
    "softmax",
    "solve_confidence_targets",
]
