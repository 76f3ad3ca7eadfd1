"""What low-bit weights bring on this machine: footprint, action error, latency of the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from salus_ros.deploy.measure import Plan, full_chunks, screen, time_calls
from salus_ros.deploy.reference_subject import ReferenceSubject
from salus_ros.deploy.worker import in_fresh_process
from salus_ros.policy.quantization.precision import PRECISIONS

BASE = "bfloat16"
"""What footprints are relative to."""


def measure(
    device: str, inputs: int, plan: Plan, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """By precision: megabytes, times smaller than bfloat16, relative action error, milliseconds.

    A call is all steps of the flow. Each in processes of its own, which take turns.
    """
    subject = ReferenceSubject(device, inputs)
    grid = subject.grid()
    full_levers = replace(grid.full, sampler="graph" if device == "cuda" else "eager")
    say("full precision")
    full = in_fresh_process(full_chunks, subject)["value"]
    found: dict[str, dict[str, Any]] = {}
    for precision in PRECISIONS:
        say(precision)
        levers = replace(full_levers, precision=precision)
        result = in_fresh_process(screen, subject, levers, full)
        found[precision] = result.get("value") or {"problem": result["problem"]}
    times: dict[str, list[dict[str, Any]]] = {name: [] for name in PRECISIONS}
    for number in range(plan.processes):
        for precision, row in found.items():
            if "problem" in row:
                continue
            say(f"{precision}, process {number + 1} of {plan.processes}")
            levers = replace(full_levers, precision=precision)
            times[precision].append(
                in_fresh_process(time_calls, subject, levers, plan).get("value", {})
            )
    rows = {name: _row(row, times[name], found) for name, row in found.items()}
    return {"device": device, "inputs": inputs, "calls": plan.calls, "precisions": rows}


def _row(row: dict[str, Any], times: list[dict[str, Any]], found: dict[str, Any]) -> dict[str, Any]:
    if "problem" in row:
        return row
    medians = [t["latency_p50"] for t in times if t]
    return {
        "weights_mb": row["weights_mb"],
        "times_smaller": found[BASE]["weights_mb"] / row["weights_mb"],
        "action_error": row["rmse"],
        "cosine": row["cosine"],
        "parity": row["parity"],
        "latency_p50": float(np.median(medians)),
        "latency_p50_range": [min(medians), max(medians)],
    }
