"""`salus bench gate`: when the supervisor sends, beside a bare timer in the same run.

A tick's own work (`tick_us`) is the processor time from the timer's callback to where its command
is ready for rclpy. Publishing it (`publish_us`) is what the bare node does as well; the whole
callback, with that, is `tick_whole_us`; what is worked out ahead between ticks, `work_ahead_us`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from salus_ros.bench.gate_profile import DETECTORS
from salus_ros.bench.gate_run import CHECKS_ON, BenchError, Measured, Setting, measure_setting
from salus_ros.bench.gate_statistics import profile_figures, setting_figures

FIFO, DEFAULT = "fifo", "default"

RATIO_BOUND = 1.2
"""Of the supervisor's period p99 to the bare node's."""
NOMINAL_BOUND = 1.25
"""Of the supervisor's period p99.9 to the nominal period, at 500 Hz under SCHED_FIFO."""
TICK_BOUND_US = 300.0
"""Of the p99 of a tick's own work, publishing not counted."""
CHUNK_BOUND = 1
"""Tick after its arrival in which a chunk acts: the next."""

Progress = Callable[[Setting, float], None]


def settings(rates: Sequence[int], schedulers: Sequence[str], detectors: str) -> list[Setting]:
    """All that are measured; last, at the first rate, cores not kept busy, and callables timed."""
    plain = [
        Setting(rate, name == FIFO, detectors=detectors) for name in schedulers for rate in rates
    ]
    return [*plain, replace(plain[0], busy=False), replace(plain[0], profile=True)]


def measure(
    config: Path,
    seconds: float,
    wanted: Sequence[Setting],
    on_progress: Progress,
) -> dict[str, Any]:
    """Measure each setting for so long [s]; the first scheduler's ratios are also flat.

    Raises BenchError, one line, where a setting can't be measured.
    """
    found: dict[Setting, Measured] = {}
    for setting in wanted:
        found[setting] = _measure_twice(setting, config, seconds, partial(on_progress, setting))
    return collect(found, seconds)


def _measure_twice(
    setting: Setting, config: Path, seconds: float, on_progress: Callable[[float], None]
) -> Measured:
    """Some minutes' work shall not be lost because one graph didn't come up on busy cores."""
    try:
        return measure_setting(setting, config, seconds, on_progress)
    except BenchError:
        return measure_setting(setting, config, seconds, on_progress)


def collect(found: Mapping[Setting, Measured], seconds: float) -> dict[str, Any]:
    """The results for machines. Raises BenchError where there is too little for a figure."""
    schedulers: dict[str, dict[str, Any]] = {}
    profile: dict[str, Any] = {}
    idle: dict[str, Any] = {}
    for setting, measured in found.items():
        if setting.profile:
            profile = profile_figures(measured.supervisor)
            continue
        figures = _figures(setting, measured)
        if not setting.busy:
            idle = {"rate": setting.rate, "scheduler": _scheduler(setting), **figures}
            continue
        by_rate = schedulers.setdefault(_scheduler(setting), {"rates": {}})
        by_rate["rates"][f"{setting.rate}hz"] = figures
    for scheduler in schedulers.values():
        scheduler["ratios"] = flat_ratios(scheduler["rates"])
    first = next(iter(schedulers))
    return {
        "scheduler": first,
        "ratios": schedulers[first]["ratios"],
        "tick_us": {**_worst_tick(schedulers), "by_check": profile},
        "new_chunk_ticks": _worst_chunk(schedulers),
        "checks": {"detectors": DETECTORS in profile.get("tick", {}), **CHECKS_ON},
        "bounds": bounds(schedulers),
        "schedulers": schedulers,
        "idle_cores": idle,
        "seconds": seconds,
    }


def _scheduler(setting: Setting) -> str:
    return FIFO if setting.fifo else DEFAULT


def _figures(setting: Setting, measured: Measured) -> dict[str, Any]:
    try:
        figures = setting_figures(measured.supervisor, measured.bare, setting.rate)
    except ValueError as error:
        raise BenchError(f"{setting.text}: {error}") from error
    return {**figures, "cores": dict(measured.cores)}


def flat_ratios(by_rate: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """`period_p99_100hz` and so on: the supervisor's quantile over the bare node's."""
    return {
        f"period_{name}_{rate}": value
        for rate, figures in by_rate.items()
        for name, value in figures["ratios"].items()
    }


def _every(schedulers: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [figures for s in schedulers.values() for figures in s["rates"].values()]


def _worst_tick(schedulers: Mapping[str, Any]) -> dict[str, float]:
    """The worst setting's figures: of the same work, done elsewhere in each of them."""
    worst = max(_every(schedulers), key=lambda figures: figures["tick_us"]["p99"])
    return dict(worst["tick_us"])


def _worst_chunk(schedulers: Mapping[str, Any]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for figures in _every(schedulers):
        for ticks, count in figures["new_chunk_ticks"]["counts"].items():
            counts[ticks] = counts.get(ticks, 0) + count
    return {"counts": counts, "max": max(map(int, counts), default=None)}


def bounds(schedulers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each bound with what was measured and whether it is met."""
    found = []
    for name, scheduler in schedulers.items():
        for rate, figures in scheduler["rates"].items():
            where = f"{rate}, {name}"
            ratio = figures["ratios"]["p99"]
            found.append(_bound(f"period p99 over the bare node's, {where}", ratio, RATIO_BOUND))
            tick = figures["tick_us"]["p99"]
            found.append(_bound(f"tick p99 in µs, {where}", tick, TICK_BOUND_US))
            last = figures["new_chunk_ticks"]["max"]
            found.append(_bound(f"ticks until a chunk acts, {where}", last, CHUNK_BOUND))
    fast = schedulers.get(FIFO, {}).get("rates", {}).get("500hz")
    if fast is not None:
        value = fast["p999_of_nominal"]
        found.append(_bound("period p99.9 over nominal, 500hz, fifo", value, NOMINAL_BOUND))
    return found


def _bound(name: str, value: float | None, bound: float) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "bound": bound,
        "met": value is not None and value <= bound,
    }
