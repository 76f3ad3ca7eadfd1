"""`salus bench replay`: how much faster than real time recordings are replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json


def replay(
    bags: Annotated[
        list[Path] | None, typer.Argument(help="Bags; none: lock-step episodes made for it.")
    ] = None,
    json_file: JsonFile = "",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes, where no bags are given.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, of which the best counts.")] = 10,
) -> None:
    """Time replay without the model on one core: reading, signals, predictor, gate, scores.

    Example: salus bench replay --json replay_bench.json

    Exit code: 0 where it ran, whatever it measured; 1 where a bag can't be replayed.
    """
    from salus_ros.bench.provenance import provenance
    from salus_ros.bench.replay import bench
    from salus_ros.replay.batch import bags_of
    from salus_ros.replay.errors import BagError

    console = Console(stderr=json_file == "-")
    try:
        found = bags_of(bags or [])
    except BagError as error:
        raise UserError(str(error)) from error
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("bags", total=rounds * (len(found) or episodes))
        result = bench(found, episodes, rounds, lambda: progress.advance(task))
    table = Table("measure", "value", title="Replay without the model, one core")
    table.add_row("times real time (goal 100)", f"{result['times_real_time']:.1f}")
    table.add_row("the same of the core's time alone", f"{result['cpu_times_real_time']:.1f}")
    for name, value in result["cpu_ms_a_recorded_second"].items():
        table.add_row(f"{name}, core ms a recorded second", f"{value:.2f}")
    console.print(table)
    if json_file:
        command = f"salus bench replay --episodes {episodes} --rounds {rounds}"
        content = {"benchmark": "replay", "command": command, **result, **provenance()}
        write_json(json_file, content)
    if result["failed"]:
        raise UserError("; ".join(result["failed"]))


def replay_batch(
    json_file: JsonFile = "",
    bags: Annotated[int, typer.Option(min=10, help="Bags in the batch.")] = 1000,
    workers: Annotated[int, typer.Option(min=2, help="Dask workers.")] = 2,
) -> None:
    """Replay a batch on a local Dask cluster, kill a worker on the way, and count what comes back.

    Example: salus bench replay-batch --bags 1000 --json replay_batch.json

    Exit code: 0 where the counts are exact, 1 where they are not.
    """
    from salus_ros.bench.provenance import provenance
    from salus_ros.bench.replay_batch import measure
    from salus_ros.replay.errors import BagError

    console = Console(stderr=json_file == "-")
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("bags", total=bags)
            result = measure(bags, workers, lambda: progress.advance(task))
    except BagError as error:
        raise UserError(str(error)) from error
    console.print_json(data=result)
    if json_file:
        command = f"salus bench replay-batch --bags {bags} --workers {workers}"
        content = {"benchmark": "replay_batch", "command": command, **result, **provenance()}
        write_json(json_file, content)
    if not (result["counts_exact"] and result["told_once_each"] and result["worker_killed"]):
        raise UserError("the counts are not exact: this is a bug")
