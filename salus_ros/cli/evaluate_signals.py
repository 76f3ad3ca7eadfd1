"""`salus evaluate signals`: a picture of each signal over one success and one failure."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from salus_ros.cli.errors import USAGE, UserError

if TYPE_CHECKING:
    from salus_ros.prediction.episodes import RecordedEpisode, Recordings

EPISODES = 8


def signals(
    out: Annotated[Path, typer.Option(dir_okay=False, help="File for the picture (.svg).")],
    bags: Annotated[
        Path | None, typer.Option(help="Folder of bags; else episodes are run in lock-step.")
    ] = None,
    policy: Annotated[str, typer.Option(help="Policy that is run.")] = "scripted_expert",
    disturbance: Annotated[
        str, typer.Option(help="What makes it fail, or of the bags, which failure; all: any.")
    ] = "block_slippery",
    seed: Annotated[int, typer.Option(min=0, max=2000, help="Seed of the episodes.")] = 0,
) -> None:
    """Draw the 12 signals over an undisturbed success and a failure.

    Example: salus evaluate signals --policy flow --out docs/signals.svg

    Exit code: 0 where the picture was written, 1 where no success or no failure was found.
    """
    from salus_ros.replay.signal_plot import signal_plot

    console = Console(stderr=True)
    try:
        recordings = _read(bags) if bags else _run(policy, disturbance, seed, console)
        success, failure = _pair(recordings, disturbance)
        out.write_text(signal_plot(success, failure))
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror}") from error
    told = f"seed {success.seed} succeeded, seed {failure.seed} failed: {failure.failure_type}"
    console.print(f"{out}: {told}", highlight=False)


def _read(bags: Path) -> Recordings:
    from salus_ros.replay.recordings import read_recordings

    return read_recordings(bags)


def _run(policy: str, disturbance: str, seed: int, console: Console) -> Recordings:
    """EPISODES episodes, every other one disturbed."""
    from salus_ros.policy.registry import BACKEND_NAMES
    from salus_ros.sim.rollout_plan import named_disturbances
    from salus_ros.sim.rollouts import RolloutOptions, collect

    if policy not in BACKEND_NAMES:
        raise UserError(f"unknown policy '{policy}'; known: {', '.join(BACKEND_NAMES)}", USAGE)
    options = RolloutOptions(policy, seed, named_disturbances([disturbance]), 0.5)
    with TemporaryDirectory(prefix="salus_signals_") as folder:
        jobs = len(os.sched_getaffinity(0))
        with console.status(f"{EPISODES} episodes of {policy}"):
            collect(options, EPISODES, Path(folder) / "rollouts", jobs, lambda _, __: None)
        return _read(Path(folder))


def _pair(recordings: Recordings, disturbance: str) -> tuple[RecordedEpisode, RecordedEpisode]:
    """The first undisturbed success and the first failure, of the same task where there is one."""
    successes = [e for e in recordings.episodes if not e.failed and not e.disturbance]
    failures = [
        e for e in recordings.episodes if e.failed and disturbance in ("all", e.disturbance)
    ]
    if not successes or not failures:
        raise UserError(
            f"{len(successes)} undisturbed successes and {len(failures)} failures under "
            f"{disturbance}: one of each is needed; try another --disturbance or --seed"
        )
    pairs = ((s, f) for f in failures for s in successes if s.instruction == f.instruction)
    return next(pairs, (successes[0], failures[0]))
