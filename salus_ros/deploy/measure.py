"""One configuration in one process: what it computes, how long it takes, what it needs."""

from __future__ import annotations

import gc
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from salus_ros.deploy.energy import Meter, find_meter
from salus_ros.deploy.levers import Levers
from salus_ros.deploy.parity import break_kernel, cosine_of, parity, relative_rmse
from salus_ros.deploy.subject import Built, Subject
from salus_ros.interfaces import FloatArray
from salus_ros.policy.allocation import freed_at_once
from salus_ros.policy.quantization.precision import compute_type

PARITY_INPUTS = 8
"""Inputs that the exact twin is run on: it is slow, and a broken kernel shows at once."""
MEGA = 1e6
METERED = 2.0
"""Time over which energy is counted [s]: a GPU's counter goes on about ten times a second."""


@dataclass(frozen=True, slots=True)
class Plan:
    """calls: timed in each process. processes: fresh ones, of the configurations that remain."""

    calls: int = 100
    processes: int = 5


def full_chunks(subject: Subject) -> FloatArray:
    """Chunks [inputs, rows, dims] of full precision and steps, eagerly: fidelity's reference."""
    return _chunks(subject.build(subject.grid().full), subject.inputs)[0]


def screen(
    subject: Subject, levers: Levers, full: FloatArray, broken: bool = False
) -> dict[str, Any]:
    """Parity, fidelity, size, and a first look at the time.

    broken: with a kernel that is wrong on purpose, to try the gate.
    """
    built = _ready(subject, levers, broken)
    chunks, times = _chunks(built, subject.inputs)
    accepted, drafted = built.drafts()
    found = {
        "weights_mb": built.weight_bytes() / MEGA,
        "latency_p50": float(np.median(times)),
        "latency_p99": float(np.percentile(times, 99)),
        "peak_memory_mb": _peak_memory(subject.device),
        "rmse": relative_rmse(chunks, full),
        "cosine": cosine_of(chunks, full),
        "acceptance": accepted / drafted if drafted else None,
    }
    del built
    gc.collect()
    count = min(PARITY_INPUTS, subject.inputs)
    exact, _ = _chunks(subject.build(levers, exact=True), count)
    kind = compute_type(levers.precision, torch.device(subject.device))
    return {**found, "parity": parity(chunks[:count], exact, kind).to_json()}


def time_calls(subject: Subject, levers: Levers, plan: Plan) -> dict[str, Any]:
    """Milliseconds of calls after warm-up, peak memory, joules per call (None: unknown)."""
    built = _ready(subject, levers)
    _chunks(built, min(PARITY_INPUTS, subject.inputs))  # every branch once, with real inputs
    _, times = _chunks(built, plan.calls)
    return {
        "latency_p50": float(np.median(times)),
        "latency_p99": float(np.percentile(times, 99)),
        "peak_memory_mb": _peak_memory(subject.device),
        "joules": _joules_a_call(built, find_meter(subject.device)),
    }


def _ready(subject: Subject, levers: Levers, broken: bool = False) -> Built:
    """As the policy node builds it."""
    with freed_at_once():
        built = subject.build(levers)
        if broken and not break_kernel(built.module()):
            raise RuntimeError(f"no layer of precision {levers.precision} has a kernel to break")
        built.warm_up()
    _forget_peak()
    return built


def _forget_peak() -> None:
    """So that a CPU's peak is of calls: by how much a build exceeds them for a moment is chance."""
    with suppress(OSError):  # a kernel without it: the build's peak stays
        Path("/proc/self/clear_refs").write_text("5")


def _joules_a_call(built: Built, meter: Meter | None) -> float | None:
    if meter is None:
        return None
    calls, begin = 0, time.perf_counter()
    meter.start()
    while time.perf_counter() - begin < METERED:
        built(calls)
        calls += 1
    joules = meter.stop()
    return None if joules is None else joules / calls


def _chunks(built: Built, count: int) -> tuple[FloatArray, FloatArray]:
    """Chunks [count, rows, dims], and milliseconds of each call.

    A call ends with the chunk on the host, so that no work is left under way on a GPU.
    """
    chunks, times = [], []
    for number in range(count):
        begin = time.perf_counter()
        chunks.append(built(number))
        times.append((time.perf_counter() - begin) * 1e3)
    return np.array(chunks), np.array(times)


def _peak_memory(device: str) -> float:
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated()) / MEGA
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / MEGA
    return math.nan
