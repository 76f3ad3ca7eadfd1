"""From what was measured to what is told: axes of each configuration, frontier, best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from salus_ros.deploy.axes import UNKNOWN, Budget
from salus_ros.deploy.frontier import choose, frontier
from salus_ros.deploy.search import Candidate

Interval = tuple[float, float]


def age_steps(latency_ms: float, horizon: int, time_step: float, rows: int) -> int:
    """Age of the observation behind a chunk when its last executed row ends, in control steps.

    A chunk of `rows` comes ceil(latency) steps after its observation, the rows before are dropped;
    the next one comes after the horizon, or after the latency where that is longer, and before the
    rows run out.
    """
    delay = math.ceil(latency_ms * 1e-3 / time_step - 1e-9)
    return max(delay, min(delay + max(horizon, delay), rows))


def axes_of(
    candidate: Candidate, horizon: int, time_step: float, rows: int
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Values of all axes, and intervals of those that were timed."""
    told = candidate.estimates()
    screened = candidate.screened
    axes: dict[str, Any] = {}
    intervals: dict[str, list[float]] = {}

    def tell(name: str, estimate: tuple[float, float, float], share: float = 1.0) -> None:
        axes[name] = estimate[0] * share
        intervals[name] = [estimate[1] * share, estimate[2] * share]

    for name in ("latency_p50", "latency_p99"):
        tell(name, told[name])
        tell(f"action_{name}", told[name], 1.0 / horizon)
    axes["weights_mb"] = screened["weights_mb"]
    tell("peak_memory_mb", told["peak_memory_mb"])
    axes |= {name: screened[name] for name in ("rmse", "cosine")}
    axes["staleness"] = horizon - 1
    ages = [age_steps(ms, horizon, time_step, rows) for ms in told["latency_p99"]]
    axes["age"], intervals["age"] = ages[0], [ages[1], ages[2]]
    axes["energy"] = UNKNOWN
    if "joules" in told:
        tell("energy", told["joules"], 1.0 / horizon)
    return axes, intervals


def configurations(
    candidates: Sequence[Candidate], horizons: Sequence[int], time_step: float, rows: int
) -> list[dict[str, Any]]:
    """One entry for each horizon of what was measured, and one for all else with the reason."""
    found = []
    for candidate in candidates:
        common = {
            "parity": candidate.screened.get("parity"),
            "acceptance": candidate.screened.get("acceptance"),
        }
        if not candidate.measured:
            entry = {"levers": candidate.levers.to_json(), "axes": {}, "intervals": {}}
            found.append({**entry, **common, "left_out": candidate.out or "not timed"})
            continue
        for horizon in horizons:
            levers = replace(candidate.levers, execution_horizon=horizon)
            axes, intervals = axes_of(candidate, horizon, time_step, rows)
            entry = {"levers": levers.to_json(), "axes": axes, "intervals": intervals}
            found.append({**entry, **common, "left_out": ""})
    return found


def conclude(found: Sequence[dict[str, Any]], budget: Budget) -> dict[str, Any]:
    """frontier, best and binding, as indices into the configurations."""
    kept = [i for i, entry in enumerate(found) if not entry["left_out"]]
    choice = choose([(found[i]["axes"], found[i]["intervals"]) for i in kept], budget)
    binding = choice.binding
    if binding is not None and binding["nearest"] is not None:
        binding = {**binding, "nearest": kept[binding["nearest"]]}
    return {
        "budget": budget.to_json(),
        "frontier": [kept[i] for i in frontier([found[i]["axes"] for i in kept])],
        "best": None if choice.best is None else kept[choice.best],
        "binding": binding,
    }
