"""Dominance, the Pareto frontier, and the best configuration under a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from salus_ros.deploy.axes import AXES, Budget

Axes = Mapping[str, Any]
Intervals = Mapping[str, Sequence[float]]


def costs(axes: Axes, names: Sequence[str]) -> tuple[float, ...]:
    """Values of known axes, turned so that smaller is better."""
    return tuple(-axes[n] if AXES[n].larger_is_better else axes[n] for n in names)


def known_axes(configurations: Sequence[Axes]) -> list[str]:
    """Axes that every configuration has a number for."""
    return [n for n in AXES if all(isinstance(c.get(n), int | float) for c in configurations)]


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether a is nowhere worse and somewhere better."""
    pairs = list(zip(a, b, strict=True))
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def frontier(configurations: Sequence[Axes]) -> list[int]:
    """Indices of those that no other dominates, over all axes that are known of all."""
    names = known_axes(configurations)
    points = [costs(c, names) for c in configurations]
    return [
        i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)
    ]


class Choice(NamedTuple):
    """best: an index, or None with what stands in the way.

    binding: axis, limit, nearest (index), value and by (how far off, in the axis' unit).
    """

    best: int | None
    binding: dict[str, Any] | None


def choose(
    configurations: Sequence[tuple[Axes, Intervals]], budget: Budget, tie: str = "latency_p50"
) -> Choice:
    """The configuration with the least objective among those that keep all limits.

    Where none does: the nearest is the one whose worst violation, relative to the limit, is the
    smallest, and the limit that it breaks most is the one that binds.
    """
    told = [i for i, (axes, _) in enumerate(configurations) if _is_number(axes[budget.minimize])]
    if not told:
        return Choice(None, {"axis": budget.minimize, "limit": None, "nearest": None})
    worst = {i: _worst(configurations[i], budget) for i in told}
    feasible = [i for i in told if worst[i] <= 0.0]
    if feasible:
        return Choice(min(feasible, key=lambda i: _order(configurations[i][0], budget, tie)), None)
    nearest = min(told, key=lambda i: (worst[i], _order(configurations[i][0], budget, tie)))
    return Choice(None, _binding(configurations[nearest], nearest, budget))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _order(axes: Axes, budget: Budget, tie: str) -> tuple[float, float]:
    return axes[budget.minimize], axes[tie]


def _worst(configuration: tuple[Axes, Intervals], budget: Budget) -> float:
    return max((limit.violation(*configuration) for limit in budget.limits), default=0.0)


def _binding(configuration: tuple[Axes, Intervals], number: int, budget: Budget) -> dict[str, Any]:
    axes, intervals = configuration
    limit = max(budget.limits, key=lambda limit: limit.violation(axes, intervals))
    value = axes[limit.axis]
    if not _is_number(value):
        return {"axis": limit.axis, "limit": limit.value, "nearest": number, "value": value}
    low, high = intervals.get(limit.axis, (value, value))
    judged = low if AXES[limit.axis].larger_is_better else high
    return {
        "axis": limit.axis,
        "limit": limit.value,
        "nearest": number,
        "value": judged,
        "by": abs(judged - limit.value),
    }
