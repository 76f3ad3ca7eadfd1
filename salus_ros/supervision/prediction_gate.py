"""Checks 9 and 10: what a failure prediction and an enable switch restrict.

**Prediction.** The newest valid prediction is in force until the next valid one. One that is stale,
missing, invalid or malformed changes nothing, so it never loosens a restriction; an operator who
takes a hold back does, and so does a new episode. Severity grows as the horizon shortens: a failure
at the longest is SLOW, at a middle one HOLD with a request to retry, a collision at the shortest
STOP; the alarm is HOLD. Requests to retry are at least `retry_gap` apart; after `retries_max` of
them in an episode a human is asked for, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from salus_ros.interfaces import FloatArray, Instant, nanoseconds, seconds
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.modes import Cause

COLLISION: Final = "collision"


@dataclass(frozen=True, slots=True)
class Requests:
    """How often a retry and a human were asked for in this episode, and the newest request."""

    retries: int = 0
    humans: int = 0
    text: str = ""


class PredictionGate:
    """What the newest valid prediction demands."""

    def __init__(self, config: GateConfig) -> None:
        self.config = config
        self.requests = Requests()
        self._causes: Mapping[str, Cause] = {}
        self._last_request: int | None = None
        self._new: Requests | None = None

    def retune(self, config: GateConfig) -> None:
        """Use other parameters from now on."""
        self.config = config

    def clear(self) -> None:
        """Nothing is restricted any more: an operator said so."""
        self._causes = {}

    def new_episode(self) -> None:
        """Forget restriction and requests."""
        self.clear()
        self.requests, self._last_request = Requests(), None

    @property
    def stops(self) -> str:
        """Why a STOP may not be reset yet, in one line; empty: nothing is against it."""
        if "collision_near" in self._causes:
            return "a collision is still predicted: wait for a new prediction, or take a hold back"
        return ""

    @property
    def slow(self) -> bool:
        """Whether the arm is to be slow."""
        return "failure_likely" in self._causes

    def take(
        self,
        probabilities: ArrayLike,
        types: Sequence[str],
        horizons: Sequence[float],
        alarm: bool,
        valid: bool,
    ) -> str:
        """Take a prediction over; what is wrong with it (it then changes nothing), or empty."""
        if not valid:
            return "the prediction is marked invalid"
        try:
            table = np.asarray(probabilities, np.float64)
        except (TypeError, ValueError):
            return "the prediction's probabilities aren't numbers"
        wrong = _malformed(table, types, horizons)
        if not wrong:
            found = self._judged(table, types, bool(alarm))
            self._causes = {cause.name: cause for cause in found}
        return wrong

    def _judged(self, table: FloatArray, types: Sequence[str], alarm: bool) -> list[Cause]:
        config, found = self.config, []
        longest = float(table[-1].max())
        if longest >= config.slow_probability:
            found.append(Cause("failure_likely", "", longest, config.slow_probability))
        middle = float(table[1:-1].max()) if len(table) > 2 else 0.0
        if middle >= config.retry_probability:
            found.append(Cause("failure_near", "", middle, config.retry_probability))
        if COLLISION in types:
            hit = float(table[0, list(types).index(COLLISION)])
            if hit >= config.collision_probability:
                found.append(Cause("collision_near", "", hit, config.collision_probability))
        if alarm:
            found.append(Cause("prediction_alarm"))
        return found

    def causes(self, now: Instant) -> Iterable[Cause]:
        """The causes in force at a tick; makes the requests that are due."""
        if "failure_near" in self._causes:
            self._request(now)
        return self._causes.values()

    def _request(self, now: Instant) -> None:
        config, asked = self.config, self.requests
        last = self._last_request
        if asked.humans or (last is not None and now.steady - last < nanoseconds(config.retry_gap)):
            return
        self._last_request = now.steady
        if asked.retries < config.retries_max:
            count = asked.retries + 1
            text = f"retry {count} of {config.retries_max}: a failure is near"
            self.requests = Requests(count, 0, text)
        else:
            text = f"a human is needed: a failure is near after {asked.retries} retries"
            self.requests = Requests(asked.retries, 1, text)
        self._new = self.requests

    def take_request(self) -> Requests | None:
        """The request made since the last call, if any."""
        new, self._new = self._new, None
        return new


def _malformed(table: FloatArray, types: Sequence[str], horizons: Sequence[float]) -> str:
    """What is wrong with a prediction's form, in one line."""
    if table.shape != (len(horizons), len(types)) or table.size == 0:
        return (
            f"the prediction has shape {table.shape}: expected {len(horizons)} horizons x "
            f"{len(types)} types"
        )
    if not ((table >= 0) & (table <= 1)).all():
        return "the prediction has a probability outside 0 to 1"
    if not all(a < b for a, b in pairwise(horizons)):
        return f"the prediction's horizons {list(horizons)} don't rise"
    return ""


class EnableSwitch:
    """A deadman switch: without a fresh `True` the arm holds, where it is required."""

    def __init__(self, config: GateConfig) -> None:
        self.config = config
        self._pressed = False
        self._since: int | None = None

    def retune(self, config: GateConfig) -> None:
        """Use other parameters from now on."""
        self.config = config

    def take(self, pressed: bool, now: Instant) -> None:
        """A message of the switch."""
        self._pressed, self._since = pressed is True, now.steady

    def causes(self, now: Instant) -> list[Cause]:
        """One where it is let go or lost."""
        if not self.config.require_enable:
            return []
        if self._since is None:
            return [Cause("enable_lost", "never heard of")]
        age, bound = seconds(now.steady - self._since), self.config.enable_age
        if age > bound:
            return [Cause("enable_lost", f"{age:.3g} s", age, bound)]
        return [] if self._pressed else [Cause("enable_lost", "let go")]
