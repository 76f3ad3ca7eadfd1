"""`salus record demos`: demonstrations for training."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from salus_ros.cli.errors import UserError

EPISODES_PER_FILE = 8


def demos(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the data set.")],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes in all.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode.")] = 100_000,
    disturbed: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of episodes that are led astray.")
    ] = 0.7,
    policy: Annotated[
        str, typer.Option(help="Policy that drives while the teacher labels; empty: the teacher.")
    ] = "",
    weights: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Checkpoint of `flow`.")
    ] = None,
) -> None:
    """Record demonstrations in the simulated rig, as a LeRobotDataset (v3.0).

    The scripted expert, over all instructions in turn. A recording that was interrupted goes on
    where it stopped.

    Example: salus record demos --out demos --episodes 400 --seed 100000

    Exit code: 0 where all episodes are there, 1 where they can't be recorded.
    """
    try:
        _record_demos(out, episodes, seed, disturbed, policy, weights)
    except ImportError as error:
        raise UserError(f"recording needs more packages ({error}): run make build") from error
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error


def _record_demos(
    out: Path, episodes: int, seed: int, disturbed: float, policy: str, weights: Path | None
) -> None:
    from salus_ros.sim.demonstrations import demonstrations
    from salus_ros.sim.lerobot_dataset import DatasetWriter

    actor = None
    if policy:
        from salus_ros.policy.registry import make_backend, option_names

        options = {"checkpoint": str(weights)} if weights else {}
        # Nobody looks at the action distribution here.
        alone = {"action_samples": 1} if "action_samples" in option_names(policy) else {}
        actor = make_backend(policy, {**options, **alone})
    settings: dict[str, object] = {
        "seed": seed,
        "disturbed": disturbed,
        "policy": policy or "demonstrator",
    }
    if weights:
        settings["weights"] = hashlib.sha256((weights / "policy.json").read_bytes()).hexdigest()
    writer = DatasetWriter(out, settings)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("episodes", total=episodes, completed=writer.episodes)
        first = seed + writer.episodes
        stream = demonstrations(episodes - writer.episodes, first, actor, disturbed)
        while batch := list(islice(_advancing(stream, progress, bar), EPISODES_PER_FILE)):
            writer.write(batch)


def _advancing(stream, progress: Progress, bar):  # type: ignore[no-untyped-def]
    for demonstration in stream:
        progress.advance(bar)
        yield demonstration
