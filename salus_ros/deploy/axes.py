"""What a configuration is judged by; which is better; limits on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salus_ros.deploy.levers import CompileError

UNKNOWN = "unknown"
"""An axis that this machine can't tell."""


@dataclass(frozen=True, slots=True)
class Axis:
    """unit: of its values. what: for people. larger_is_better: smaller is, elsewhere."""

    unit: str
    what: str
    larger_is_better: bool = False


AXES: Mapping[str, Axis] = {
    "latency_p50": Axis("ms", "a call of the policy, median"),
    "latency_p99": Axis("ms", "a call of the policy, 99th percentile"),
    "action_latency_p50": Axis("ms", "the same for each executed action"),
    "action_latency_p99": Axis("ms", "the same for each executed action"),
    "weights_mb": Axis("MB", "weights as they are stored, 10^6 bytes"),
    "peak_memory_mb": Axis("MB", "of the GPU, or of the whole process during calls on a CPU"),
    "rmse": Axis("", "relative RMSE of actions against full precision and steps"),
    "cosine": Axis("", "of actions with those of full precision and steps", True),
    "staleness": Axis("control steps", "executed after the first without a newer look"),
    "age": Axis("control steps", "age of the observation when the last executed row ends"),
    "energy": Axis("J", "for each executed action, of the whole device"),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """An axis may be at most, or at least, this."""

    axis: str
    value: float

    def violation(self, axes: Mapping[str, Any], intervals: Mapping[str, Sequence[float]]) -> float:
        """By how much it is broken, in units of the limit; at most 0 where it holds.

        Judged by the worse end of the interval that a fresh process is expected to measure in. An
        axis that is not known breaks every limit.
        """
        value = axes.get(self.axis)
        if not isinstance(value, int | float):
            return math.inf
        low, high = intervals.get(self.axis, (value, value))
        larger = AXES[self.axis].larger_is_better
        over = self.value - low if larger else high - self.value
        return over / max(abs(self.value), 1e-9) if over > 0 else 0.0

    def __str__(self) -> str:
        sign = ">=" if AXES[self.axis].larger_is_better else "<="
        return f"{self.axis} {sign} {self.value:g} {AXES[self.axis].unit}".strip()


@dataclass(frozen=True, slots=True)
class Budget:
    """An objective, to be as small as can be, under limits."""

    minimize: str
    limits: tuple[Limit, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        limits = {limit.axis: limit.value for limit in self.limits}
        return {"minimize": self.minimize, "limits": limits}


def check_axis(name: str) -> None:
    """Raises CompileError for an axis that there isn't."""
    if name not in AXES:
        raise CompileError(f"unknown axis '{name}'; known: {', '.join(AXES)}")


def make_budget(minimize: str, limits: Mapping[str, float]) -> Budget:
    """Raises CompileError for an unknown axis and a limit that is no number."""
    for name in (minimize, *limits):
        check_axis(name)
    if AXES[minimize].larger_is_better:
        raise CompileError(f"{minimize} is better the larger it is: minimise rmse instead")
    for name, value in limits.items():
        if not math.isfinite(value):
            raise CompileError(f"limit {name}={value}: a finite number is needed")
    return Budget(minimize, tuple(Limit(name, float(value)) for name, value in limits.items()))


def parse_limits(most: Sequence[str], least: Sequence[str] = ()) -> dict[str, float]:
    """AXIS=VALUE each, of --max and --min. Raises CompileError."""
    limits = {}
    for option, texts, larger in (("--max", most, False), ("--min", least, True)):
        for text in texts:
            name, _, number = text.partition("=")
            check_axis(name)
            if AXES[name].larger_is_better != larger:
                other = "--min" if not larger else "--max"
                raise CompileError(f"{option} {text}: {name} is limited with {other}")
            try:
                limits[name] = float(number)
            except ValueError:
                raise CompileError(f"{option} {text}: give AXIS=NUMBER") from None
    return limits
