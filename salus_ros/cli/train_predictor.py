"""`salus train predictor`: a failure predictor from recorded episodes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn

from salus_ros.cli.errors import UserError
from salus_ros.cli.output import write_json
from salus_ros.cli.predictor_data import read_episodes, split_table, tell_skipped

if TYPE_CHECKING:
    from salus_ros.prediction.fitting import Fitted
    from salus_ros.prediction.splits import Splits
    from salus_ros.prediction.training import Progress as Epoch
    from salus_ros.prediction.training import TrainingConfig


def predictor(
    bags: Annotated[
        list[Path],
        typer.Option(exists=True, file_okay=False, help="Folder of bags; may be repeated."),
    ],
    out: Annotated[Path, typer.Option(dir_okay=False, help="Checkpoint (.safetensors).")] = Path(
        "predictor.safetensors"
    ),
    unseen: Annotated[
        str, typer.Option(help="Disturbances kept out of training, with commas between.")
    ] = "camera_shifted,block_pushed,joint_friction",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training episodes.")] = 60,
    alpha: Annotated[
        float, typer.Option(help="Share of successful episodes that may raise the alarm.")
    ] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and order.")] = 0,
    json_file: Annotated[
        str, typer.Option("--json", help="File for what was trained; -: standard output.")
    ] = "",
) -> None:
    """Train a failure predictor on recorded episodes, calibrate it, and set its alarm.

    Episodes are split by a hash of their start state, always alike. A training that was interrupted
    goes on where it was. Beside the checkpoint a card (.md) says what it was made of.

    Example: salus train predictor --bags rollouts --out predictor.safetensors

    Exit code: 0 where the checkpoint was written, 1 where the data won't do.
    """
    try:
        from salus_ros.prediction.training import TrainingConfig
    except ImportError as error:
        raise UserError(f"training needs more packages ({error}): run make build") from error
    from salus_ros.prediction import fitting
    from salus_ros.prediction.card import write_card
    from salus_ros.prediction.checkpoint import save_checkpoint
    from salus_ros.prediction.splits import split_episodes
    from salus_ros.signals.layout import SignalError

    console = Console(stderr=json_file == "-")
    names = [name for name in unseen.split(",") if name]
    config = TrainingConfig(epochs=epochs, seed=seed)
    state = out.with_name(out.name + ".training")
    try:
        splits = split_episodes(read_episodes(bags, console), names)
        tell_skipped(splits.left_out, console)
        console.print(split_table(splits))
        fitting.check(splits, alpha)
        fitted = _fit(splits, config, alpha, state, console)
        trained = _described(fitted, splits, config, names)
        fingerprint = save_checkpoint(out, fitted.model, trained)
        write_card(out.with_suffix(".md"), out.name, fitted.model, trained, fingerprint)
    except SignalError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror}") from error
    for file in (state, state.with_name(state.name + ".dropout")):
        file.unlink(missing_ok=True)
    console.print(f"{fitted.decision.reason}.", highlight=False)
    console.print(f"{out}: {fingerprint}", highlight=False)
    if json_file:
        write_json(json_file, {**trained, "fingerprint": fingerprint})


def _fit(
    splits: Splits, config: TrainingConfig, alpha: float, state: Path, console: Console
) -> Fitted:
    from salus_ros.prediction.fitting import fit

    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[quality]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("training", total=config.epochs, quality="")

        def on_epoch(epoch: Epoch) -> None:
            line = f"loss {epoch.loss:.3f}  validation ROC-AUC {epoch.quality:.3f}"
            progress.update(task, completed=epoch.epoch, quality=line)
            if not console.is_terminal and epoch.epoch % 10 == 0:
                console.print(f"epoch {epoch.epoch}: {line}", highlight=False)

        return fit(splits, config, on_epoch, state, alpha)


def _described(
    fitted: Fitted, splits: Splits, config: TrainingConfig, unseen: list[str]
) -> dict[str, Any]:
    """For the checkpoint's header: what it was made of, and which episodes it has seen."""
    from salus_ros.bench.provenance import provenance
    from salus_ros.prediction.evaluation import counts
    from salus_ros.prediction.splits import CALIBRATION, CONFORMAL, TRAIN, VALIDATION

    groups = splits.by_name()
    used = (TRAIN, VALIDATION, CALIBRATION, CONFORMAL)
    return {
        "unseen": unseen,
        "config": asdict(config),
        "parameters": config.network.parameters,
        "decision": asdict(fitted.decision),
        "episodes": counts(splits),
        "used": {name: sorted(e.fingerprint for e in groups[name]) for name in used},
        **provenance(),
    }
