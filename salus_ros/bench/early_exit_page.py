"""docs/early_exit.md's tables, from results/early_exit.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salus_ros.bench.markdown import table

SHARES = {"0.25": "1/4", "0.5": "1/2", "0.75": "3/4", "1": "all"}


def settings(results: Mapping[str, Any]) -> str:
    """Saving, error, time and success of each setting that was timed, and of a fixed 3/4."""
    result = results["early_exit"]
    names = dict.fromkeys([*result["latency"], *result["success"], "fixed-0.75"])
    head = ["setting", "MLP FLOPs saved", "mean error", "episodes above 5 %"]
    head += ["CPU per chunk, mean", "saved against full, 95 %", "success, 95 %"]
    machine = f"{result['hardware']['cores']} cores of {result['hardware']['cpu']}"
    said = f"`results/early_exit.json`: {machine}, commit {result['commit']}."
    return f"{said}\n\n{table(head, [_row(result, name) for name in names])}"


def _row(result: Any, name: str) -> list[str]:
    error = result["errors"].get(name)
    time = result["latency"].get(name)
    success = result["success"].get(name)
    errors = ["", "", ""]
    if error is not None:
        above = f"{error['above']} of {error['episodes']}"
        errors = [_percent(error["saving"]), f"{error['mean_error'] * 100:.2f} %", above]
    return [f"`{name}`", *errors, *_times(name, time), _success(success)]


def _times(name: str, time: Any) -> list[str]:
    if time is None:
        return ["", ""]
    mean = f"{time['cpu_mean'] * 1e3:.2f} ms"
    if name == "off":
        return [mean, ""]
    low, high = (bound * 1e3 for bound in time["cpu_saved_interval"])
    return [mean, f"{time['cpu_saved'] * 1e3:+.2f} ms [{low:+.2f}, {high:+.2f}]"]


def _success(success: Any) -> str:
    if success is None:
        return ""
    low, high = success["success_interval"]
    return f"{_percent(success['success_rate'])} [{low * 100:.1f}, {high * 100:.1f}]"


def methods(results: Mapping[str, Any]) -> str:
    """Mean error where every chunk skips the same share after the first checkpoint."""
    rows = [
        [f"`{name}`", *(f"{errors[share] * 100:.2f} %" for share in SHARES)]
        for name, errors in results["early_exit"]["methods"].items()
    ]
    return table(["method", *SHARES.values()], rows)


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
