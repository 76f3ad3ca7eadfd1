"""`salus replay`: recordings once more through signals, predictor and gate."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from salus_ros.cli.errors import FAILED, USAGE, UserError
from salus_ros.cli.options import JsonFile, ReportFile, json_options
from salus_ros.cli.output import write_json, write_report
from salus_ros.replay.errors import BagError
from salus_ros.resources import share_folder

if TYPE_CHECKING:
    from salus_ros.replay.bag_result import ReplayOptions
    from salus_ros.replay.batch import Answer, Told
    from salus_ros.replay.policy_stage import PolicyOptions

STAGES = "signals,predictor,supervisor"
ENGINES = ("processes", "dask")


def replay(
    bags: Annotated[list[Path], typer.Argument(help="Bags, or folders of bags.")],
    through: Annotated[str, typer.Option(help="Stages that work anew.")] = STAGES,
    config: Annotated[
        str, typer.Option(help="Parameter file; empty: as recorded, else sim_panda.")
    ] = "",
    topics: Annotated[
        Path | None, typer.Option(help="YAML that says where the bag has what (docs/replay.md).")
    ] = None,
    ticks: Annotated[
        str, typer.Option(help="auto: as the gate ticked; commands; grid: at the gate's own rate.")
    ] = "auto",
    policy: Annotated[
        str, typer.Option(help="Policy, by name or checkpoint: asked anew; empty: as recorded.")
    ] = "",
    policy_options: Annotated[
        str, typer.Option(help="Options of the policy, JSON: '{\"flow_steps\": 4}'.")
    ] = "{}",
    delay: Annotated[
        str, typer.Option(help="What its inferences take: fixed:0.1, recorded (drawn), measured.")
    ] = "recorded",
    compare: Annotated[
        str, typer.Option(help="Another parameter file: what one would stop and the other not.")
    ] = "",
    engine: Annotated[
        str, typer.Option(help="What spreads many bags: processes (of this machine) or dask.")
    ] = "processes",
    scheduler: Annotated[
        str, typer.Option(help="Dask's scheduler, tcp://HOST:8786; empty: a cluster of its own.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")] = 0,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one for each core.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for bags with the replay beside the recording.")
    ] = None,
    report: ReportFile = None,
    json_file: JsonFile = "",
) -> None:
    """Replay bags through signals, predictor and gate, and say what comes out and what differs.

    The same bags, configuration and seed give the same results, to the bit.

    Example: salus replay rollouts/ --json replay.json

    Exit code: 0 where all bags were replayed, 1 where one could not be, 2 for a wrong option.
    """
    from salus_ros.replay.bag_result import BagResult
    from salus_ros.replay.batch import bags_of, summary
    from salus_ros.replay.html_report import write_page

    options = replace(
        _options(through, (config, compare), topics, ticks, seed),
        policy=_policy(policy, policy_options, delay) if policy else None,
        out=out,
        plots=report is not None,
    )
    console = Console(stderr=json_file == "-")
    started = time.monotonic()
    try:
        found = bags_of(bags)
        with Progress(
            *Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True
        ) as progress:
            task = progress.add_task("bags", total=len(found))
            answers = _run(
                found, options, (engine, scheduler, jobs), lambda _: progress.advance(task)
            )
    except BagError as error:
        raise UserError(str(error), USAGE) from error
    content = summary(answers, options)
    _show(console, answers, content, time.monotonic() - started)
    if json_file:
        write_json(json_file, content)
    if report is not None:
        plots = [a.plot for a in answers if isinstance(a, BagResult) and a.plot is not None]
        write_report(report, lambda: write_page(report, content, plots))
    if content["bags_failed"]:
        raise typer.Exit(FAILED)


def _run(
    bags: list[Path], options: ReplayOptions, where: tuple[str, str, int], told: Told
) -> list[Answer]:
    """All bags, by the engine of that name, with its scheduler's address and processes."""
    from salus_ros.replay.batch import run_batch
    from salus_ros.replay.dask_engine import connected, run_on_dask

    engine, scheduler, jobs = where
    if engine not in ENGINES:
        raise UserError(f"--engine: '{engine}' is none of {', '.join(ENGINES)}", USAGE)
    if engine == "processes":
        return run_batch(bags, options, jobs, told)
    with connected(scheduler, jobs or len(os.sched_getaffinity(0))) as client:
        return run_on_dask(client, bags, options, told)


def _options(
    through: str, configs: tuple[str, str], topics: Path | None, ticks: str, seed: int
) -> ReplayOptions:
    from salus_ros.replay.bag_result import TICKS, ReplayOptions
    from salus_ros.replay.player import STAGES as KNOWN
    from salus_ros.replay.player import Through
    from salus_ros.replay.settings import load_settings
    from salus_ros.replay.topic_map import load_topic_map

    names = [name.strip() for name in through.split(",")]
    unknown = [name for name in names if name not in KNOWN]
    if unknown:
        raise UserError(f"--through: '{unknown[0]}' is none of {', '.join(KNOWN)}", USAGE)
    if ticks not in TICKS:
        raise UserError(f"--ticks: '{ticks}' is none of {', '.join(TICKS)}", USAGE)
    path, other = (_config(name) for name in configs)
    try:
        load_settings(path)
        load_settings(other)
        if topics is not None:
            load_topic_map(topics)
    except BagError as error:
        raise UserError(str(error), USAGE) from error
    stages = Through(**{name: name in names for name in KNOWN})
    return ReplayOptions(path, topics, stages, seed, ticks, other)


def _policy(name: str, options: str, delay: str) -> PolicyOptions:
    from salus_ros.replay.delays import check_delay
    from salus_ros.replay.policy_stage import PolicyOptions, policy_of

    try:
        told = PolicyOptions(name, json_options(options), delay)
        check_delay(delay)
        policy_of(told)
    except BagError as error:
        raise UserError(str(error), USAGE) from error
    return told


def _config(name: str) -> Path | None:
    """A path, or a file in config/; None for no name."""
    if not name or Path(name).is_file():
        return Path(name) if name else None
    path = share_folder() / "config" / f"{name.removesuffix('.yaml')}.yaml"
    if not path.is_file():
        raise UserError(f"--config: {name} is neither a file nor one in config/", USAGE)
    return path


def _show(console: Console, answers: list[Answer], content: dict[str, Any], wall: float) -> None:
    for failure in content["failed"]:
        console.print(f"[red]left out[/]: {failure['problem']}", soft_wrap=True, highlight=False)
    for report in content["bags"]:
        for note in report["notes"]:
            console.print(f"{report['bag']}: {note}", soft_wrap=True, highlight=False)
    console.print(_table(content, wall))


def _table(content: dict[str, Any], wall: float) -> Table:
    scores, apart = content["scores"], content["differences"]
    table = Table("measure", "value", title="Replay")
    table.add_row("bags replayed, failed", f"{content['bags_replayed']}, {content['bags_failed']}")
    table.add_row("recorded time", f"{scores['seconds']:.1f} s")
    table.add_row("times real time", f"{scores['seconds'] / max(wall, 1e-9):.1f}")
    table.add_row(
        "commands as recorded", f"{apart['commands_identical']} of {apart['commands_compared']}"
    )
    for mode, share in scores["modes"].items():
        table.add_row(f"time in {mode}", f"{100 * share:.2f} %")
    for reason, count in content["interventions"]["by_reason"].items():
        table.add_row(f"intervention: {reason}", f"{count}")
    for side in ("first", "second") if "comparison" in content else ():
        stops = content["comparison"][f"stopped_by_{side}_only"]
        table.add_row(f"stops by the {side} configuration only", f"{len(stops)}")
    outcomes = scores["outcomes"]
    if outcomes and outcomes["predictor"]:
        auc = outcomes["predictor"]["auc"]["value"]
        table.add_row("ROC-AUC of the predictor", "not defined" if auc is None else f"{auc:.3f}")
    table.add_row("fingerprint", content["fingerprint"][:16])
    return table
