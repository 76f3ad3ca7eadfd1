"""`salus bench smolvla`: the fast path beside LeRobot's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import USAGE, UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json

if TYPE_CHECKING:
    from salus_ros.bench.smolvla import Timing


def smolvla(
    json_file: JsonFile = "",
    sizes: Annotated[str, typer.Option(help="tiny, full (450 million weights), or both.")] = (
        "tiny,full"
    ),
    repeats: Annotated[int, typer.Option(min=2, help="Calls of each way that are timed.")] = 20,
    device: Annotated[str, typer.Option(help="cpu or cuda; empty: CUDA if there is one.")] = "",
    compiles: Annotated[
        bool, typer.Option("--compile", help="Also LeRobot's own under torch.compile (minutes).")
    ] = False,
) -> None:
    """Time SmolVLA from camera images to actions: LeRobot's own and the fast path, in turn.

    Weights are random. On CUDA also in bfloat16 and as CUDA graphs. The result says how far the
    actions are from LeRobot's for the same noise.

    Example: salus bench smolvla --sizes tiny --repeats 50 --json smolvla.json
    """
    try:
        from salus_ros.bench import smolvla as bench
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed: run make .venv/.lerobot, which installs LeRobot"
        ) from error
    from salus_ros.bench.provenance import provenance
    from salus_ros.bench.smolvla_model import SIZES

    names = tuple(name.strip() for name in sizes.split(",") if name.strip())
    if not names or not set(names) <= set(SIZES):
        raise UserError(f"--sizes: '{sizes}' is not of {', '.join(SIZES)}", USAGE)
    device = bench.resolve_device(device)
    console = Console(stderr=json_file == "-")
    before = bench.conditions(device)
    timings: list[bench.Timing] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("timing", total=None)

        def on_call(what: str) -> None:
            progress.update(task, description=what)

        timings += bench.measure(names, repeats, device, compiles, on_call)
    console.print(_table(timings))
    if json_file:
        command = f"salus bench smolvla --sizes {sizes} --repeats {repeats} --device {device}"
        command += " --compile" if compiles else ""
        rows = [bench.table_row(timing) for timing in timings]
        load = bench.conditions(device)["load_average"]
        content = {"command": command, **before, "load_average_after": load, "timings": rows}
        write_json(json_file, {"benchmark": "smolvla", **content, **provenance(device)})


def _table(timings: list[Timing]) -> Table:
    table = Table("size", "type", "way", "samples", "median ms", "p99 ms", "x LeRobot", "apart")
    table.title = "from camera images to actions"
    for timing in timings:
        table.add_row(
            timing.size,
            timing.precision,
            timing.way,
            f"{timing.samples}",
            f"{timing.median_ms:.1f}",
            f"{timing.p99_ms:.1f}",
            f"{timing.times_stock:.2f}",
            f"{timing.largest_difference:.1e}",
        )
    return table
