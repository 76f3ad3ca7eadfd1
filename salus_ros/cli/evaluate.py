"""`salus evaluate`: quality, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import UserError
from salus_ros.cli.output import write_json

if TYPE_CHECKING:
    from salus_ros.bench.sedac_noise import NoiseRow, WeightRow

app = typer.Typer(help="Quality, measured.", no_args_is_help=True, add_completion=False)


@app.callback()
def _evaluate() -> None:
    """Keeps `sedac` a sub-command while it is the only one."""


@app.command()
def sedac(
    json_file: Annotated[
        str, typer.Option("--json", help="File for the results; -: standard output.")
    ] = "",
    report: Annotated[
        Path | None, typer.Option(help="HTML file for plots and numbers; needs plotly.")
    ] = None,
    recorded: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="npz with recorded probes: risk and exit_right, each (layers, n).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic tokens.")] = 0,
) -> None:
    """Count wrong early exits: a single layer's risk against accumulated confidence.

    At equal exit rates, over the noise of the probes; and learned weights against the defaults.

    Example: salus evaluate sedac --json noise.json --report noise.html

    Exit code: 0 where it ran, whatever it found; 1 where it could not run.
    """
    from salus_ros.bench.provenance import provenance

    try:
        from salus_ros.bench import sedac_noise as study
    except ImportError as error:
        raise UserError(f"sedac_core is not built ({error}): run make build") from error
    console = Console(stderr=json_file == "-")
    rows: list[NoiseRow] = []
    weights: list[WeightRow] = []
    total = len(study.SIGMAS) * len(study.EXIT_RATES) + len(study.PROBES)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("evaluating", total=total)
        for found in study.noise_study(seed):
            rows += found
            progress.advance(task)
        for gain in study.weight_study(seed + 1000):
            weights.append(gain)
            progress.advance(task)
    if recorded is not None:
        weights.append(_recorded(recorded))
    content = {**study.to_json(rows, weights), **provenance()}
    console.print(_noise_table(rows))
    console.print(_weight_table(weights))
    if json_file:
        write_json(json_file, content)
    if report is not None:
        _write_report(report, content)


def _recorded(file: Path) -> WeightRow:
    from salus_ros.bench.sedac_noise import recorded_gain

    try:
        return recorded_gain(file)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"{file} can't be used as recorded probes: {error}") from error


def _write_report(file: Path, content: dict[str, object]) -> None:
    from salus_ros.bench.sedac_noise import write_report

    try:
        write_report(file, content)
    except ModuleNotFoundError as error:
        raise UserError("the report needs plotly: pip install plotly") from error
    except OSError as error:
        raise UserError(f"can't write {file}: {error.strerror}") from error


def _noise_table(rows: list[NoiseRow]) -> Table:
    table = Table("sigma", "exit rate", "rule", "wrong exits", "saved against the single layer")
    table.title = "share of wrong exits at equal exit rates"
    for row in rows:
        wrong, saved = row.wrong, row.saved
        table.add_row(
            f"{row.sigma}",
            f"{row.exit_rate.mean:.3f}",
            row.rule,
            f"{wrong.mean:.4f}",
            f"{saved.mean:+.4f} [{saved.low:+.4f}, {saved.high:+.4f}]",
        )
    return table


def _weight_table(rows: list[WeightRow]) -> Table:
    table = Table("probes", "weights", "decay", "wrong, equal exits", "exits, equal wrong")
    table.title = "learned weights on held-out tokens (default, then learned)"
    for row in rows:
        table.add_row(
            row.data,
            " ".join(f"{weight:.2f}" for weight in row.weights),
            f"{row.confidence_decay:.2f}",
            f"{row.wrong_default:.4f} {row.wrong_learned:.4f}",
            f"{row.exits_default:.3f} {row.exits_learned:.3f}",
        )
    return table
