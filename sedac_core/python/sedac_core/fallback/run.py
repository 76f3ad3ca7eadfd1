"""Streaming: one batch, fed checkpoint by checkpoint inside a forward pass."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sedac_core.fallback import checks
from sedac_core.fallback.decisions import ExitArrays, given_or_new
from sedac_core.fallback.rule import Tokens

if TYPE_CHECKING:
    from sedac_core.fallback.controller import CascadeController

Floats = NDArray[np.float32]


class CascadeRun:
    """One batch, fed checkpoint by checkpoint; made by CascadeController.begin.

    A run belongs to one thread at a time.
    """

    def __init__(
        self, controller: "CascadeController", batch: int, routes: NDArray[np.intp] | None
    ) -> None:
        self._controller = controller
        self._routes = routes
        self._tokens = Tokens(batch)
        self.reset()

    @property
    def batch(self) -> int:
        """Number of tokens."""
        return len(self._tokens.confidence)

    def reset(self) -> None:
        """Begin again with the same batch and routes, and with the thresholds as they are now."""
        snapshot = self._controller._snapshot
        if self._routes is not None:
            snapshot.check_routes(self._routes)
        self._snapshot = snapshot
        self._plan = snapshot.plan(self._routes)
        self._bonus = self._controller._outcomes.bonus()
        self._ignored = 0
        self._finished = False
        self._tokens.clear()

    def step(
        self,
        checkpoint: int,
        risk: Floats,
        out: Floats | None = None,
        uncertainty: float = 0.0,
    ) -> Floats:
        """Feed the risks of one checkpoint and return the skip ratio of every token.

        checkpoint: 0, 1, ... in order, each once.
        risk: float32[batch], finite and >= 0.
        out: float32[batch] to write to and return.
        uncertainty: of this step, in [0, 1]; only with adaptive_decay.

        Returns float32[batch] in [0, 1]: 0 before a token's exit, and never falling after it.
        IndexError for a checkpoint that does not exist, ValueError for any other bad input; then
        the run is as before.
        """
        settings = self._snapshot.settings
        self._check_order(checkpoint, settings.checkpoints)
        risk = checks.array("risk", risk, "(n,)", 1)
        if len(risk) != self.batch:
            raise ValueError(f"risk has shape {risk.shape}; it must have shape ({self.batch},)")
        ratio = np.empty(self.batch, np.float32) if out is None else out
        checks.output("out", ratio, self.batch)
        checks.apart("out", ratio, risk)
        uncertainty = checks.uncertainty(uncertainty, settings.adaptive_decay)
        invalid = None
        if not checks.is_clean(risk):
            invalid = checks.invalid_risks(risk)
            if settings.strict:
                checks.refuse_risk(risk, invalid, checkpoint)
            self._ignored += int(invalid.sum())
        decay = self._snapshot.decay(uncertainty, self._bonus)
        with np.errstate(all="ignore"):
            self._tokens.step(self._plan[checkpoint], decay, risk, invalid)
        self._tokens.ratios(settings.soft, ratio)
        return ratio

    def finish(self, out: ExitArrays | None = None) -> ExitArrays:
        """Return the decisions and count the run; afterwards reset() makes it usable again.

        ValueError if the run is finished already or out is of another length.
        """
        if self._finished:
            raise ValueError("this run is finished; call reset() to use it again")
        out = given_or_new(out, self.batch)
        self._tokens.conclude(self._snapshot.settings.soft, self._snapshot.layers(self._plan), out)
        self._snapshot.stats.record_call(out.exit_layer, self._ignored, self._tokens.flags)
        self._finished = True
        return out

    def _check_order(self, checkpoint: int, count: int) -> None:
        checks.checkpoint_index(checkpoint, count)
        expected = self._tokens.fed
        if self._finished or expected == count:
            raise ValueError("this run is finished; call reset() to use it again")
        if checkpoint != expected:
            raise ValueError(
                f"checkpoint {checkpoint} was fed where {expected} is next; "
                "feed each checkpoint once, in order"
            )
