"""`salus evaluate`: quality, measured."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli import evaluate_signals
from salus_ros.cli.errors import USAGE, UserError
from salus_ros.cli.options import JsonFile, ReportFile
from salus_ros.cli.output import write_json, write_report
from salus_ros.cli.supervisor_tables import supervisor_tables

if TYPE_CHECKING:
    from salus_ros.bench.sedac_noise import NoiseRow, WeightRow
    from salus_ros.bench.supervisor_study import SequenceStudy

app = typer.Typer(help="Quality, measured.", no_args_is_help=True, add_completion=False)
app.command()(evaluate_signals.signals)


@app.command()
def sedac(
    json_file: JsonFile = "",
    report: ReportFile = None,
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
        write_report(report, partial(study.write_report, report, content))


@app.command()
def supervisor(
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="npz with labelled rows (docs/detectors.md)."
        ),
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(
            help="LeRobot data set for the sequences, a folder or hub id; else lock-step."
        ),
    ] = "",
    calibration: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Calibration to judge on the rig; else a new one."
        ),
    ] = None,
    json_file: JsonFile = "",
    report: ReportFile = None,
    episodes: Annotated[
        int, typer.Option(min=0, help="Held-out lock-step episodes; 0: no sequences of those.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, episodes and faults.")] = 1,
) -> None:
    """Evaluate the supervisor's detectors, on rows and on episodes that they never saw.

    Example: salus evaluate supervisor --data droid.npz --json supervisor.json

    Without --calibration, 1000 more lock-step episodes are run to calibrate on: minutes in all.
    Exit code: 0 where it ran, whatever it found; 1 where it could not run; 2 where there is
    nothing to evaluate.
    """
    from salus_ros.bench import supervisor_study as study
    from salus_ros.bench.provenance import provenance
    from salus_ros.supervision.detectors import DetectorError

    if data is None and not dataset and not episodes:
        raise UserError("nothing to evaluate: give --data, --dataset or --episodes", USAGE)
    console = Console(stderr=json_file == "-")
    try:
        rows = None if data is None else study.row_study(data, seed)
        sequences = _sequences(dataset, calibration, episodes, seed, console)
    except DetectorError as error:
        raise UserError(str(error)) from error
    content = {**study.together(rows, sequences), **provenance()}
    for table in supervisor_tables(content):
        console.print(table)
    if json_file:
        write_json(json_file, content)
    if report is not None:
        from salus_ros.bench.supervisor_report import write_report as write

        trace = sequences.trace() if sequences else None
        write_report(report, partial(write, report, content, trace))


def _sequences(
    dataset: str, calibration: Path | None, episodes: int, seed: int, console: Console
) -> SequenceStudy | None:
    from salus_ros.bench import supervisor_study as study
    from salus_ros.supervision.detectors import load_calibration

    if dataset:
        from salus_ros.bench.supervisor_lerobot import read_lerobot

        return study.dataset_study(read_lerobot(dataset), dataset, seed)
    if not episodes:
        return None
    known = None if calibration is None else load_calibration(calibration)
    total = episodes if known else study.CALIBRATION_EPISODES + episodes
    with Progress(console=console, transient=True) as progress:
        advance = partial(progress.advance, progress.add_task("episodes", total=total))
        return study.sequence_study(episodes, seed, advance, known)


@app.command()
def detectors(
    calibration: Annotated[
        str, typer.Option(help="Calibration: a path, or a file in config/.")
    ] = "sim_panda_detectors.npz",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes, each run twice.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the episodes.")] = 9,
    config: Annotated[
        str, typer.Option(help="Parameter file that names the policy.")
    ] = "sim_panda.yaml",
    latency: Annotated[
        float, typer.Option(min=0, max=10, help="Time that an inference takes [s].")
    ] = 0.03,
    json_file: JsonFile = "",
) -> None:
    """What the supervisor's detectors cost: task success and false HOLDs, with and without them.

    The same undisturbed episodes of the rig twice, in lock-step.

    Example: salus evaluate detectors --json detectors.json

    Exit code: 0 where it ran, whatever it found; 1 where it could not run.
    """
    from salus_ros.bench.provenance import provenance
    from salus_ros.bench.supervisor_success import success_study
    from salus_ros.cli.calibrate import running_policy
    from salus_ros.cli.supervisor_tables import success_table
    from salus_ros.resources import config_file
    from salus_ros.supervision.detectors import DetectorError, load_calibration

    console = Console(stderr=json_file == "-")
    policy = running_policy(config, latency)
    try:
        file = Path(calibration) if Path(calibration).is_file() else config_file(calibration)
        loaded = load_calibration(file)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("episodes", total=2 * episodes)
            advance = partial(progress.advance, task)
            found = success_study(loaded, episodes, seed, policy, advance)
    except (DetectorError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    console.print(success_table(found))
    if json_file:
        write_json(json_file, {**found, **provenance()})


def _recorded(file: Path) -> WeightRow:
    from salus_ros.bench.sedac_noise import recorded_gain

    try:
        return recorded_gain(file)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"{file} can't be used as recorded probes: {error}") from error


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
