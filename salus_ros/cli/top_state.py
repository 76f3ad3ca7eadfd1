"""What `salus top` knows of the running graph; plain values, times in s on a steady clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

WINDOW = 5.0  # s that rates and percentiles are of
LOST_AFTER = 2.0  # s without a heartbeat, as the manager has it
INTERVENTIONS = 8


class Stream:
    """Arrivals of one topic within the window, each with its age: arrival after its stamp [s]."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()
        self.last: float | None = None

    def add(self, now: float, age: float) -> None:
        """A message came."""
        self._forget(now)
        self._seen.append((now, age))
        self.last = now

    def rate(self, now: float) -> float:
        """Messages a second over the window; 0 where it is silent."""
        self._forget(now)
        if len(self._seen) < 2:
            return 0.0
        return (len(self._seen) - 1) / max(now - self._seen[0][0], 1e-9)

    def age(self, now: float, share: float = 0.5) -> float | None:
        """A percentile of the ages [s]; None where nothing came within the window."""
        self._forget(now)
        ages = sorted(age for _, age in self._seen)
        return ages[min(len(ages) - 1, int(share * len(ages)))] if ages else None

    def silent_for(self, now: float) -> float | None:
        """Since the last message [s]; None: there has been none."""
        return None if self.last is None else now - self.last

    def _forget(self, now: float) -> None:
        while self._seen and self._seen[0][0] < now - WINDOW:
            self._seen.popleft()


@dataclass
class SignalView:
    """One signal: newest value, largest magnitude so far, whether it could be computed."""

    value: float = 0.0
    largest: float = 0.0
    valid: bool = False


@dataclass(frozen=True)
class InterventionLine:
    """An act of the supervisor, for people. time: hh:mm:ss of the ROS clock."""

    time: str
    modes: str
    reason: str
    message: str


@dataclass
class TopState:
    """Everything that is shown.

    lifecycle: by node, as its transitions or the manager say. horizons [s], probabilities
    [horizons][types]. inference: durations of the policy's newest stages [s], by name.
    """

    nodes: Sequence[str] = ()
    heartbeats: dict[str, Stream] = field(default_factory=dict)
    lifecycle: dict[str, str] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    signals: dict[str, SignalView] = field(default_factory=dict)
    mode: str = ""
    reasons: Sequence[str] = ()
    supervisor: dict[str, Any] = field(default_factory=dict)
    robot: str = ""
    instruction: str = ""
    inference: dict[str, float] = field(default_factory=dict)
    inference_time: Stream = field(default_factory=Stream)
    prediction_valid: bool = False
    horizons: Sequence[float] = ()
    failure_types: Sequence[str] = ()
    probabilities: Sequence[Sequence[float]] = ()
    episode_failure: float = 0.0
    alarm: bool = False
    interventions: deque[InterventionLine] = field(
        default_factory=lambda: deque(maxlen=INTERVENTIONS)
    )

    def take_signal(self, name: str, value: float, valid: bool) -> None:
        """A new value of a signal; one that is not finite counts as not valid."""
        view = self.signals.setdefault(name, SignalView())
        view.valid = valid and isfinite(value)
        if view.valid:
            view.value = value
            view.largest = max(view.largest, abs(value))

    def take_prediction(
        self, horizons: Sequence[float], kinds: Sequence[str], values: Sequence[float]
    ) -> None:
        """Horizons [s] and failure types with their probabilities, row by row.

        Not valid where those don't make a table of finite numbers.
        """
        whole = bool(horizons and kinds) and len(values) == len(horizons) * len(kinds)
        self.prediction_valid = whole and all(map(isfinite, values))
        if self.prediction_valid:
            rows = range(0, len(values), len(kinds))
            self.horizons, self.failure_types = list(horizons), list(kinds)
            self.probabilities = [values[row : row + len(kinds)] for row in rows]

    def node_state(self, node: str, now: float) -> str:
        """lost, silent (never heard of), or its lifecycle's state; up: it has none."""
        silent = self.heartbeats[node].silent_for(now) if node in self.heartbeats else None
        if silent is None:
            return "silent"
        return "lost" if silent > LOST_AFTER else self.lifecycle.get(node, "up")

    def as_dict(self, now: float) -> dict[str, Any]:
        """For machines."""
        return {
            "nodes": {node: self.node_state(node, now) for node in self.nodes},
            "streams": {
                name: {"rate_hz": stream.rate(now), "age_s": stream.age(now)}
                for name, stream in self.streams.items()
            },
            "mode": self.mode,
            "reasons": list(self.reasons),
            "supervisor": self.supervisor,
            "robot": self.robot,
            "instruction": self.instruction,
            "inference_s": self.inference,
            "signals": {
                name: {"value": view.value, "valid": view.valid}
                for name, view in self.signals.items()
            },
            "prediction": {
                "valid": self.prediction_valid,
                "horizons_s": list(self.horizons),
                "failure_types": list(self.failure_types),
                "probabilities": [list(row) for row in self.probabilities],
                "episode_failure_probability": self.episode_failure,
                "alarm": self.alarm,
            },
            "interventions": [vars(line) for line in self.interventions],
        }
