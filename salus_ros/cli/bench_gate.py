"""`salus bench gate`: when the supervisor sends its commands, beside a bare timer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import INTERRUPTED, USAGE, UserError
from salus_ros.cli.graph import parameter_file, require_ros
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json
from salus_ros.cli.processes import interrupt_on_signals

if TYPE_CHECKING:
    from salus_ros.bench.gate_run import Setting

QUANTILES = {"p99": "p99", "p999": "p99.9", "max": "max"}
WORK = {
    "tick's own": "tick_us",
    "publishing": "publish_us",
    "whole tick": "tick_whole_us",
    "ahead": "work_ahead_us",
}


def gate(
    json_file: JsonFile = "",
    seconds: Annotated[
        float, typer.Option(min=4.0, max=600.0, help="Measured time of each setting [s].")
    ] = 15.0,
    rates: Annotated[str, typer.Option(help="Commands per second.")] = "100,500,1000",
    scheduler: Annotated[
        str, typer.Option(help="fifo, default, or both (fifo where this process may).")
    ] = "both",
    config: Annotated[str, typer.Option(help="Parameter file.")] = "sim_panda",
    detectors: Annotated[
        str, typer.Option(help="Calibration of the detectors; empty: the parameter file's.")
    ] = "",
) -> None:
    """Time the supervisor's commands beside a bare timer node, in the same run, on busy cores.

    The whole graph runs on the simulated rig, every core multiplies matrices, every check is on.
    Both nodes stamp each command just before they hand it over. A tick's own work ends there;
    rclpy's publishing is given beside it. Once more at the first rate the cores are left alone.
    Some three minutes; end whatever else runs on this machine before.

    Example: salus bench gate --json gate.json

    Exit code: 0 where it ran, whatever it measured; 1 where the graph failed; 130 after Ctrl-C.
    """
    require_ros()
    from salus_ros.bench.gate import measure, settings
    from salus_ros.bench.gate_run import BenchError, use_own_domain
    from salus_ros.bench.provenance import provenance

    console = Console(stderr=json_file == "-")
    path = parameter_file(config)
    wanted = settings(_rates(rates), _schedulers(scheduler, console), detectors)
    interrupt_on_signals()
    use_own_domain()
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("", total=seconds)

            def show(setting: Setting, done: float) -> None:
                progress.update(task, description=setting.text, completed=done)

            results = measure(path, seconds, wanted, show)
    except BenchError as error:
        raise UserError(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    for table in gate_tables(results):
        console.print(table)
    if not results["checks"]["detectors"]:
        console.print("the detectors (check 8) are off: give --detectors", style="yellow")
    if json_file:
        command = f"salus bench gate --seconds {seconds:g} --rates {rates}"
        command += f" --scheduler {scheduler} --config {config}"
        command += f" --detectors {detectors}" if detectors else ""
        write_json(json_file, {"benchmark": "gate", "command": command, **results, **provenance()})


def _rates(text: str) -> list[int]:
    """Rates from "100,500"; raises UserError."""
    parts = text.split(",")
    if not all(part.strip().isdigit() and 10 <= int(part) <= 1000 for part in parts):
        raise UserError(f"--rates {text!r}: give numbers from 10 to 1000, such as 100,500", USAGE)
    return sorted({int(part) for part in parts})


def _schedulers(wanted: str, console: Console) -> list[str]:
    """Which are measured; raises UserError for an unknown one, or one that isn't allowed."""
    from salus_ros.bench.gate import DEFAULT, FIFO
    from salus_ros.nodes.realtime import HOW_TO_ALLOW, may_use_realtime

    if wanted not in (FIFO, DEFAULT, "both"):
        raise UserError(f"--scheduler {wanted!r}: give fifo, default or both", USAGE)
    if wanted == DEFAULT or may_use_realtime():
        return [FIFO, DEFAULT] if wanted == "both" else [wanted]
    if wanted == FIFO:
        raise UserError(f"this process may not use SCHED_FIFO: {HOW_TO_ALLOW}")
    console.print(f"SCHED_FIFO is left out: {HOW_TO_ALLOW}", style="yellow")
    return [DEFAULT]


def gate_tables(results: Mapping[str, Any]) -> list[Table]:
    """Periods beside the bare node's, the tick by check, and whether the bounds are met."""
    return [_periods(results), _work(results), *_profile(results), _bounds(results)]


def _settings(results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    busy = [
        (f"{rate}, {scheduler}", found)
        for scheduler, figures in results["schedulers"].items()
        for rate, found in figures["rates"].items()
    ]
    idle = results["idle_cores"]
    name = "{rate}hz, {scheduler}, cores not kept busy"
    return [*busy, (name.format(**idle), idle)] if idle else busy


def _periods(results: Mapping[str, Any]) -> Table:
    table = Table("setting", *(f"{name} ms" for name in QUANTILES.values()), "p99 ratio")
    table.title = "period of the commands, supervisor / bare timer"
    for setting, found in _settings(results):
        ours, bare = found["period_ms"]["supervisor"], found["period_ms"]["bare"]
        cells = [f"{ours[name]:.2f} / {bare[name]:.2f}" for name in QUANTILES]
        table.add_row(setting, *cells, f"{found['ratios']['p99']:.3f}")
    return table


def _work(results: Mapping[str, Any]) -> Table:
    table = Table("setting", *WORK, "following", "cores idle")
    table.title = "processor time p50 / p99 µs, and what the graph did meanwhile"
    for setting, found in _settings(results):
        cells = [f"{found[k]['p50']:.0f} / {found[k]['p99']:.0f}" for k in WORK.values()]
        shares = found["following_share"], found["cores"]["idle"]
        table.add_row(setting, *cells, *(f"{100 * share:.0f} %" for share in shares))
    return table


def _profile(results: Mapping[str, Any]) -> list[Table]:
    tables = []
    for group, by_name in results["tick_us"]["by_check"].items():
        table = Table("what", "p50 µs", "p99 µs", "max µs", "calls")
        table.title = f"of each {group}; what a line calls is in it, too"
        for name, figures in sorted(by_name.items(), key=lambda item: -item[1]["p50"]):
            values = (f"{figures[quantile]:.1f}" for quantile in ("p50", "p99", "max"))
            table.add_row(name, *values, str(figures["calls"]))
        tables.append(table)
    return tables


def _bounds(results: Mapping[str, Any]) -> Table:
    table = Table("bound", "measured", "at most", "", title="bounds")
    for bound in results["bounds"]:
        value = bound["value"]
        measured = "none" if value is None else f"{value:.4g}"
        row = bound["name"], measured, f"{bound['bound']:g}", "met" if bound["met"] else "missed"
        table.add_row(*row, style=None if bound["met"] else "red")
    return table
