"""`salus train`: fit a model to recorded data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn

from salus_ros.cli.errors import UserError

if TYPE_CHECKING:
    from salus_ros.policy.flow.training import Progress as Report

app = typer.Typer(help="Fit a model to recorded data.", no_args_is_help=True, add_completion=False)


@app.callback()
def _train() -> None:
    """Keeps `policy` a sub-command while it is the only one."""


@app.command()
def policy(
    data: Annotated[
        list[Path], typer.Option(exists=True, file_okay=False, help="Data set; may be repeated.")
    ],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of the training run.")],
    steps: Annotated[int, typer.Option(min=1, help="Training steps in all.")] = 10_000,
    vision_steps: Annotated[
        int, typer.Option(min=0, help="The first so many train vision alone.")
    ] = 1_500,
    batch: Annotated[int, typer.Option(min=2, help="Observations a step.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, order and noise.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: torch's own.")] = 0,
) -> None:
    """Train the built-in policy on demonstrations (salus record demos).

    A run that was interrupted goes on where it was saved; with more --steps, so does one that
    ended. Data that is recorded meanwhile is taken in. The folder is a checkpoint at any time.

    Example: salus train policy --data demos --out run --steps 10000

    Exit code: 0 where the last step was made, 1 where the data won't do.
    """
    try:
        from salus_ros.policy.flow.dataset import FrameStore
        from salus_ros.policy.flow.panda import panda_config
        from salus_ros.policy.flow.training import Trainer, TrainingConfig, use_device
    except ImportError as error:
        raise UserError(f"training needs more packages ({error}): run make build") from error
    flow = panda_config()
    try:
        use_device(device, threads)
        store = FrameStore(data, flow.image_size)
        trainer = Trainer(
            out,
            store,
            flow,
            TrainingConfig(steps=steps, vision_steps=vision_steps, batch=batch, seed=seed),
            device,
        )
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[losses]}"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("training", total=steps, losses="")

        def report(done: Report) -> None:
            losses = "  ".join(f"{name} {value:.4f}" for name, value in done.losses.items())
            line = f"{losses}  {done.frames} frames  {done.seconds:.0f} s"
            progress.update(bar, completed=done.step, losses=line)
            if not progress.console.is_terminal:
                progress.console.print(f"step {done.step}: {line}", soft_wrap=True)

        trainer.run(report)
