"""Settings of early exit: what the cascade controller is built from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sedac_core import CascadeController, LayerConfig

Kind = Literal["soft", "hard", "single_layer", "fixed"]
KINDS: tuple[Kind, ...] = ("soft", "hard", "single_layer", "fixed")


class EarlyExitError(ValueError):
    """Early exit can't be used so; one line says why and what to do."""


@dataclass(frozen=True, slots=True)
class ExitSetting:
    """How risks become exits.

    kind: `soft` accumulates confidence and skips a share; `hard` accumulates and skips all;
    `single_layer` is the older rule, hard at the first layer with a risk below its threshold;
    `fixed` skips `ratio` after the first checkpoint, whatever the risk. thresholds, targets,
    weights: of each checkpoint, as in docs/sedac.md. exit_rates: those that the targets were
    solved for.
    """

    kind: Kind
    thresholds: tuple[float, ...]
    targets: tuple[float, ...]
    weights: tuple[float, ...]
    exit_rates: tuple[float, ...]
    decay: float = 0.9
    ratio: float = 0.0

    def controller(self, checkpoints: tuple[int, ...], depth: int) -> CascadeController:
        """The controller for checkpoints of a model with `depth` layers."""
        rows = zip(
            checkpoints, self.exit_rates, self.thresholds, self.weights, self.targets, strict=True
        )
        mode = "single_layer" if self.kind == "single_layer" else "accumulate"
        try:
            return CascadeController(
                [LayerConfig(*row) for row in rows],
                confidence_decay=self.decay,
                soft_exit_enabled=self.kind == "soft",
                mode=mode,
                strict=False,
                scale_quantile=0.95,
                model_depth=depth,
            )
        except ValueError as error:
            raise EarlyExitError(f"early exit: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """For the file."""
        return asdict(self)


def setting_from_json(content: dict[str, Any]) -> ExitSetting:
    """The reverse. Raises EarlyExitError."""
    try:
        kind = content["kind"]
        lists = ("thresholds", "targets", "weights", "exit_rates")
        values = {name: tuple(float(x) for x in content[name]) for name in lists}
        decay, ratio = float(content["decay"]), float(content["ratio"])
    except (KeyError, TypeError, ValueError) as error:
        raise EarlyExitError(f"early exit: a setting lacks or garbles {error}") from error
    if kind not in KINDS:
        raise EarlyExitError(f"early exit: kind '{kind}' is unknown; known: {', '.join(KINDS)}")
    return ExitSetting(kind, **values, decay=decay, ratio=ratio)


def fixed(ratio: float, checkpoints: int) -> ExitSetting:
    """The setting that always skips the same share after the first checkpoint."""
    ones = (1.0,) * checkpoints
    shares = tuple(0.9 / (checkpoints - i) for i in range(checkpoints))
    return ExitSetting("fixed", ones, shares, ones, shares, ratio=ratio)
