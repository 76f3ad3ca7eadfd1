"""`salus calibrate`: what is measured once for a robot and its policy."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.calibrate_signals import signals
from salus_ros.cli.errors import USAGE, UserError
from salus_ros.cli.output import write_json

if TYPE_CHECKING:
    from salus_ros.interfaces import FloatArray
    from salus_ros.sim.running_policy import RunningPolicy
    from salus_ros.supervision.detectors import DetectorCalibration, Episode
    from salus_ros.supervision.detectors.calibration import Identity

app = typer.Typer(
    help="Measure once for a robot and its policy.", no_args_is_help=True, add_completion=False
)


class EpisodeSource(str, Enum):
    """Where episodes come from."""

    LOCKSTEP = "lockstep"


app.command()(signals)


@app.command()
def supervisor(
    out: Annotated[Path, typer.Option(dir_okay=False, help="File for the calibration (.npz).")],
    episodes_from: Annotated[
        EpisodeSource | None,
        typer.Option(help="Run nominal episodes of the parameter file's policy on the rig."),
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
    dataset: Annotated[
        str, typer.Option(help="LeRobot data set of the policy's own runs: a folder or a hub id.")
    ] = "",
    robot: Annotated[
        str, typer.Option(help="Name of the robot, for --bags, --data and --dataset.")
    ] = "",
    config: Annotated[
        str, typer.Option(help="Parameter file that names the policy, for --episodes-from.")
    ] = "sim_panda.yaml",
    latency: Annotated[
        float, typer.Option(min=0, max=10, help="Time that an inference takes [s], for the same.")
    ] = 0.03,
    episodes: Annotated[int, typer.Option(min=1, help="Normal episodes to run.")] = 1000,
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

    if sum(bool(source) for source in (episodes_from, data, bags, dataset)) != 1:
        raise UserError(
            "give one of --episodes-from lockstep, --data FILE, --bags DIR, --dataset SET", USAGE
        )
    if bags is not None and not robot:
        raise UserError("--bags needs --robot: a bag doesn't say whose it is", USAGE)
    console = Console(stderr=json_file == "-")
    try:
        if data is not None:
            calibration = _from_rows(data, robot, budget)
        elif bags is not None:
            calibration = _from_bags(bags, robot, budget)
        elif dataset:
            calibration = _from_dataset(dataset, robot, budget)
        else:
            policy = running_policy(config, latency)
            calibration = _from_lockstep(policy, episodes, seed, budget, console)
        calibration.save(out)
    except DetectorError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror}") from error
    console.print(_table(calibration))
    if json_file:
        write_json(json_file, calibration.describe())


def running_policy(config: str, latency: float) -> RunningPolicy:
    """The policy that a parameter file names, with its options, as the policy node runs it."""
    from salus_ros.cli.graph import parameter_file
    from salus_ros.sim.running_policy import policy_of_file

    file = parameter_file(config)
    try:
        return policy_of_file(file, latency)
    except (ValueError, ImportError) as error:
        raise UserError(f"{file}: {error}") from error


def _from_lockstep(
    policy: RunningPolicy, episodes: int, seed: int, budget: float, console: Console
) -> DetectorCalibration:
    from salus_ros.bench import supervisor_episodes as source
    from salus_ros.supervision.detectors.fitting import check_count, episode_budget

    allowed = episode_budget(budget)
    check_count(allowed, episodes)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("episodes", total=episodes)
        advance = partial(progress.advance, task)
        recorded = source.record_lockstep(episodes, seed, advance, policy)
    for reason, count in recorded.left_out.items():
        if count:
            console.print(f"left out: {count} episodes {reason}")
    identity = source.panda_identity(recorded.rate)
    return _per_episode(recorded.normal, source.panda_ranges(), identity, budget)


def _from_bags(folder: Path, robot: str, budget: float) -> DetectorCalibration:
    from salus_ros.bench.supervisor_bags import read_bags

    recorded = read_bags(folder, robot)
    return _per_episode(recorded.episodes, recorded.ranges, recorded.identity, budget)


def _from_dataset(source: str, robot: str, budget: float) -> DetectorCalibration:
    from salus_ros.bench.supervisor_lerobot import read_lerobot

    recorded = read_lerobot(source, robot)
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
