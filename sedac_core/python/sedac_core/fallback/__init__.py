"""The surface of the compiled core in numpy: slower, otherwise the same.

Used where the extension is not built. Both are held to the same tests.
"""

from sedac_core.fallback.config import LayerConfig
from sedac_core.fallback.controller import CascadeController
from sedac_core.fallback.decisions import ExitArrays, ExitDecision
from sedac_core.fallback.fit import WeightFit, fit_weights, solve_confidence_targets
from sedac_core.fallback.functions import entropy, quantile, soft_exit_ratio, softmax
from sedac_core.fallback.run import CascadeRun

__all__ = [
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
