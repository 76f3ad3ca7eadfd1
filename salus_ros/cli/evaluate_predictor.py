"""`salus evaluate predictor`: a failure predictor beside its baselines, on unused episodes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import UserError
from salus_ros.cli.options import JsonFile, ReportFile
from salus_ros.cli.output import write_json, write_report
from salus_ros.cli.predictor_data import read_episodes, split_table, tell_skipped
from salus_ros.reporting import interval_text

if TYPE_CHECKING:
    from salus_ros.prediction.splits import Splits
    from salus_ros.prediction.training import TrainingConfig


def predictor(
    bags: Annotated[
        list[Path],
        typer.Option(exists=True, file_okay=False, help="Folder of bags; may be repeated."),
    ],
    checkpoint: Annotated[
        str, typer.Option(help="Checkpoint: a path, or the name of one in config/.")
    ] = "predictor.safetensors",
    json_file: JsonFile = "",
    report: ReportFile = None,
    studies: Annotated[
        bool,
        typer.Option(help="Also train again: without each group of signals, with 80 episodes."),
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Seed of bootstrap and baselines.")] = 0,
) -> None:
    """Evaluate a failure predictor and every baseline, on the same episodes.

    The episodes must include those that it was trained on: the baselines learn from them, and what
    is left is what neither has seen.

    Example: salus evaluate predictor --bags rollouts --json predictor.json --report predictor.html

    Exit code: 0 where it ran, whatever it found; 1 where it could not run.
    """
    try:
        from salus_ros.prediction.training import TrainingConfig
    except ImportError as error:
        raise UserError(f"the baselines need more packages ({error}): run make build") from error
    from salus_ros.bench.provenance import provenance
    from salus_ros.prediction import checkpoint as checkpoints
    from salus_ros.prediction.splits import split_episodes
    from salus_ros.prediction.timing import step_times
    from salus_ros.signals.layout import SignalError

    console = Console(stderr=json_file == "-")
    try:
        file = checkpoints.checkpoint_file(checkpoint)
        model, header = checkpoints.load_with_header(file)
        trained = header["trained"]
        splits = split_episodes(read_episodes(bags, console), trained.get("unseen", ()))
        tell_skipped(splits.left_out, console)
        checkpoints.check_unused(trained, splits)
        console.print(split_table(splits))
        content = _evaluated(model, splits, seed, console)
        content["step_time"] = step_times(model, splits.test)
        if studies:
            options = trained.get("config", {})
            config = replace(TrainingConfig(), epochs=options.get("epochs", 60), seed=seed)
            content |= _studies(splits, config, console)
    except (SignalError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    content |= {
        "checkpoint": header["fingerprint"],
        "parameters": trained.get("parameters"),
        "decision": trained.get("decision"),
        "unseen_disturbances": trained.get("unseen"),
        "command": "salus evaluate predictor --bags DIR --json FILE",
        **provenance(),
    }
    console.print(_table(content))
    if json_file:
        write_json(json_file, content)
    if report is not None:
        from salus_ros.prediction.report import write_report as write

        write_report(report, partial(write, report, content))


def _evaluated(model: Any, splits: Splits, seed: int, console: Console) -> dict[str, Any]:
    from salus_ros.prediction import evaluation

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("evaluating", total=len(evaluation.baselines()) + 1)

        def advance(name: str) -> None:
            progress.update(task, advance=1, description=f"evaluated {name}")

        return evaluation.evaluate(model, splits, seed, advance)


def _studies(splits: Splits, config: TrainingConfig, console: Console) -> dict[str, Any]:
    from salus_ros.prediction import evaluation
    from salus_ros.prediction.features import GROUPS

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(
            "training again", total=evaluation.FEW_REPEATS + 1 + 2 * len(GROUPS)
        )

        def advance(name: str) -> None:
            progress.update(task, advance=1, description=name)

        few = evaluation.few_episodes(splits, config, advance=advance)
        return {
            "few_episodes": {"episodes": evaluation.FEW_EPISODES, "runs": few},
            "ablation": evaluation.ablation(splits, config, advance),
        }


def _table(content: dict[str, Any]) -> Table:
    table = Table("", "episode ROC-AUC", "matched in time", "recall", "false alarms", "lead, s")
    table.title = "episodes that were never used; left: seen disturbances, then unseen"
    methods = {"the model": content["model"], **content["baselines"]}
    for name, figures in methods.items():
        if "not_available" in figures:
            table.add_row(name, figures["not_available"])
            continue
        for group, of_group in figures.items():
            alarm = of_group["alarm"]
            table.add_row(
                f"{name}, {group}",
                interval_text(of_group["episode_auc"]),
                interval_text(of_group["matched_auc"]),
                interval_text(alarm["recall"]),
                interval_text(alarm["false_alarm_rate"]),
                interval_text(alarm["lead_time_p50"]),
            )
    return table
