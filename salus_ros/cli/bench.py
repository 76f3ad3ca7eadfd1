"""`salus bench`: speed on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.bench_gate import gate
from salus_ros.cli.bench_signals import signals
from salus_ros.cli.bench_smolvla import smolvla
from salus_ros.cli.errors import UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json

if TYPE_CHECKING:
    from salus_ros.bench.sedac import SpeedResult

app = typer.Typer(
    help="Speed on this machine, as ratios within one run.",
    no_args_is_help=True,
    add_completion=False,
)
app.command()(gate)
app.command()(signals)
app.command()(smolvla)


@app.command()
def sedac(
    json_file: JsonFile = "",
    rounds: Annotated[int, typer.Option(min=3, help="Timings of which the median counts.")] = 15,
) -> None:
    """Time the early-exit core against numpy and a plain Python loop.

    Example: salus bench sedac --json sedac.json

    Exit code: 0 where it ran, whatever it measured; 1 where the core is not built.
    """
    from salus_ros.bench.provenance import provenance

    try:
        from salus_ros.bench import sedac as bench
    except ImportError as error:
        raise UserError(f"the compiled core is not built ({error}): run make build") from error
    console = Console(stderr=json_file == "-")
    results: list[bench.SizeResult | bench.StepResult] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("timing", total=2 * len(bench.BATCHES))
        for result in bench.measure(rounds):
            results.append(result)
            progress.advance(task)
    speed = bench.collect(results)
    for table in _tables(speed):
        console.print(table)
    if json_file:
        write_json(json_file, {"benchmark": "sedac", **speed.to_json(), **provenance()})


@app.command()
def lockstep(
    json_file: JsonFile = "",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each kind.")] = 10,
) -> None:
    """Time the whole graph in lock-step, with and without rendering.

    Example: salus bench lockstep --json lockstep.json
    """
    from salus_ros.bench.lockstep import measure
    from salus_ros.bench.provenance import provenance

    console = Console(stderr=json_file == "-")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("episodes", total=2 * episodes)
        results = measure(episodes, lambda _: progress.advance(task))
    console.print_json(data=results)
    if json_file:
        write_json(json_file, {"benchmark": "lockstep", **results, **provenance()})


@app.command()
def journal(
    json_file: JsonFile = "",
    records: Annotated[int, typer.Option(min=1000, help="Interventions to journal.")] = 100_000,
    rate: Annotated[float, typer.Option(min=10, help="Of them, how many a second.")] = 5000.0,
) -> None:
    """Journal interventions while the disk fills up; account for each of them.

    Example: salus bench journal --json journal_full_disk.json

    Exit code: 0 where none was lost silently, 1 where one was.
    """
    from salus_ros.bench.gate_journal import BenchError, measure
    from salus_ros.bench.provenance import provenance

    console = Console(stderr=json_file == "-")
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("records", total=records)
            results = measure(records, rate, lambda done: progress.update(task, completed=done))
    except BenchError as error:
        raise UserError(str(error)) from error
    console.print_json(data=results)
    if json_file:
        command = f"salus bench journal --records {records} --rate {rate:g}"
        write_json(
            json_file, {"benchmark": "journal", "command": command, **results, **provenance()}
        )
    if results["lost_silently"] or not results["intact"]:
        raise UserError("records were lost silently: this is a bug")


def _tables(speed: SpeedResult) -> list[Table]:
    evaluate = Table("batch", "core µs", "numpy µs", "Python µs", "x numpy", "x Python", "goal")
    evaluate.title = "one evaluation of three layers"
    for size in speed.evaluate:
        evaluate.add_row(
            f"{size.batch}",
            f"{size.core_us:.2f}",
            f"{size.numpy_us:.1f}",
            f"{size.python_us:.1f}",
            f"{size.times_numpy:.1f}",
            f"{size.times_python:.0f}",
            _verdict(size.meets_goals),
        )
    steps = Table("batch", "core µs", "numpy µs", "goal", title="one streaming step")
    for step in speed.step:
        row = f"{step.batch}", f"{step.core_us:.2f}", f"{step.numpy_us:.1f}"
        steps.add_row(*row, _verdict(step.meets_goals))
    return [evaluate, steps]


def _verdict(meets: bool) -> str:
    return "met" if meets else "missed"
