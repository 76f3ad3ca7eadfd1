"""`salus bench signals`: what the 12 signals cost a step."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json

FORMS = {
    "step_us": "a step with a new latent",
    "step_cpu_us": "the same, time on the core alone",
    "step_uncalibrated_us": "the same, without a calibration",
    "step_of_ten_a_chunk_us": "a new latent every tenth step",
}


def signals(
    json_file: JsonFile = "",
    steps: Annotated[int, typer.Option(min=1000, help="Steps of a round.")] = 5000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, of which the median counts.")] = 7,
) -> None:
    """Time the signals on one core with a 960-wide latent, and hold their forms together.

    Example: salus bench signals --json signals.json

    Exit code: 0 where it ran, whatever it measured.
    """
    from salus_ros.bench.provenance import provenance
    from salus_ros.bench.signals import measure

    console = Console(stderr=json_file == "-")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("rounds", total=len(FORMS) * rounds)
        result = measure(steps, rounds, lambda: progress.advance(task))
    console.print(_table(result))
    if json_file:
        write_json(json_file, {"benchmark": "signals", **result, **provenance()})


def _table(result: dict[str, Any]) -> Table:
    bounds = result["bounds_us"]
    table = Table("on one core", "p50 µs", "p99 µs", "p99.9 µs")
    table.title = f"12 signals, {result['latent_width']}-wide latent"
    table.caption = (
        f"bound {bounds['p50']:g} and {bounds['p99']:g} µs; whole recording "
        f"{result['recording_cpu_us_a_step']:.1f} µs a step, 64 streams "
        f"{result['batch_cpu_us_a_step']:.1f}; largest difference "
        f"{result['recording_largest_difference']:.1g}"
    )
    for name, meaning in FORMS.items():
        times = result[name]
        table.add_row(meaning, *(f"{times[q]:.1f}" for q in ("p50", "p99", "p99.9")))
    return table
