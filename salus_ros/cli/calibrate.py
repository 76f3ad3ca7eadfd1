"""`salus calibrate`: what is measured once for a robot and its policy."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import USAGE, UserError
from salus_ros.cli.output import write_json

if TYPE_CHECKING:
    from salus_ros.interfaces import FloatArray
    from salus_ros.supervision.detectors import DetectorCalibration, Episode
    from salus_ros.supervision.detectors.calibration import Identity

app = typer.Typer(
    help="Measure once for a robot and its policy.", no_args_is_help=True, add_completion=False
)


class EpisodeSource(str, Enum):
    """Where episodes come from."""

    LOCKSTEP = "lockstep"


@app.callback()
def _calibrate() -> None:
    """Keeps `supervisor` a sub-command while it is the only one."""


@app.command()
def supervisor(
    out: Annotated[Path, typer.Option(dir_okay=False, help="File for the calibration (.npz).")],
    episodes_from: Annotated[
        EpisodeSource | None, typer.Option(help="Run nominal episodes of the scripted expert.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="npz with calib_actions and labelled eval pairs."
        ),
    ] = None,
    bags: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of bags with /salus/action_chunk."),
    ] = None,
    robot: Annotated[str, typer.Option(help="Name of the robot, for --bags and --data.")] = "",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to run in lock-step.")] = 800,
    seed: Annotated[int, typer.Option(min=0, help="Seed of those episodes.")] = 1,
    budget: Annotated[
        float, typer.Option(help="Share of normal episodes (--data: rows) that may raise an alarm.")
    ] = 0.01,
    json_file: Annotated[
        str, typer.Option("--json", help="File for what was calibrated; -: standard output.")
    ] = "",
) -> None:
    """Calibrate the supervisor's detectors on recorded normal motion.

    Example: salus calibrate supervisor --episodes-from lockstep --out detectors.npz

    Exit code: 0 where the file was written, 1 where the data won't do, 2 for a wrong command line.
    """
    from salus_ros.supervision.detectors import DetectorError

    if sum(source is not None for source in (episodes_from, data, bags)) != 1:
        raise UserError("give one of --episodes-from lockstep, --data FILE, --bags DIR", USAGE)
    if bags is not None and not robot:
        raise UserError("--bags needs --robot: a bag doesn't say whose it is", USAGE)
    console = Console(stderr=json_file == "-")
    try:
        if data is not None:
            calibration = _from_rows(data, robot, budget)
        elif bags is not None:
            calibration = _from_bags(bags, robot, budget)
        else:
            calibration = _from_lockstep(episodes, seed, budget, console)
        calibration.save(out)
    except DetectorError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror}") from error
    console.print(_table(calibration))
    if json_file:
        write_json(json_file, calibration.describe())


def _from_lockstep(
    episodes: int, seed: int, budget: float, console: Console
) -> DetectorCalibration:
    from salus_ros.bench import supervisor_episodes as source
    from salus_ros.supervision.detectors.fitting import check_count, episode_budget

    allowed = episode_budget(budget)
    check_count(allowed, episodes)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("episodes", total=episodes)
        recorded = source.record_lockstep(episodes, seed, lambda: progress.advance(task))
    return _per_episode(recorded, source.panda_ranges(), source.panda_identity(), budget)


def _from_bags(folder: Path, robot: str, budget: float) -> DetectorCalibration:
    from salus_ros.bench.supervisor_bags import read_bags

    recorded = read_bags(folder, robot)
    return _per_episode(recorded.episodes, recorded.ranges, recorded.identity, budget)


def _per_episode(
    recorded: list[Episode], ranges: FloatArray, identity: Identity, budget: float
) -> DetectorCalibration:
    from salus_ros.supervision.detectors import calibrate_episodes
    from salus_ros.supervision.detectors.fitting import episode_budget

    return calibrate_episodes(recorded, ranges, identity, episode_budget(budget))


def _from_rows(file: Path, robot: str, budget: float) -> DetectorCalibration:
    from dataclasses import replace

    from salus_ros.bench.supervisor_droid import load_rows
    from salus_ros.supervision.detectors import calibrate_pairs
    from salus_ros.supervision.detectors.conformal import ROW_SPLIT
    from salus_ros.supervision.detectors.fitting import Budget

    rows = load_rows(file)
    normal = rows.kinds == 0
    pairs = rows.previous[normal], rows.actions[normal]
    identity = replace(rows.identity, robot=robot or rows.identity.robot)
    allowed = Budget(budget, ROW_SPLIT)
    return calibrate_pairs(rows.calibration, pairs, rows.ranges, identity, allowed)


def _table(calibration: DetectorCalibration) -> Table:
    table = Table("detector", "part of the budget", "samples", "threshold")
    unit = "episodes" if calibration.mode == "per_episode" else "rows"
    table.title = f"{calibration.identity.robot}: {calibration.budget:g} of normal {unit}"
    for name, threshold in calibration.thresholds.items():
        part, samples = calibration.split[name], calibration.samples[name]
        table.add_row(name, f"{part:.3f}", f"{samples}", f"{threshold:.3g}")
    return table
