"""`salus calibrate signals`: what is usual for a policy on a robot, from bags."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.bench.provenance import provenance
from salus_ros.cli.errors import UserError
from salus_ros.cli.output import write_json

if TYPE_CHECKING:
    from salus_ros.prediction.episodes import Recordings
    from salus_ros.replay.signal_calibration import CalibrationSource
    from salus_ros.signals.calibration import Calibration


def signals(
    bags: Annotated[Path, typer.Option(help="Folder of bags with episodes and their outcomes.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="File for the calibration (.npz).")],
    robot: Annotated[str, typer.Option(help="Name of the robot; empty: what the bags say.")] = "",
    components: Annotated[
        int, typer.Option(min=1, max=512, help="Principal components of the latents, at most.")
    ] = 32,
    json_file: Annotated[
        str, typer.Option("--json", help="File for what was calibrated; -: standard output.")
    ] = "",
) -> None:
    """Measure a policy's usual latents, its action range and the arm's lag.

    Undisturbed successes count alone. The file goes to signal_publisher's parameter `calibration`.

    Example: salus calibrate signals --bags rollouts/ --out signals.npz

    Exit code: 0 where the file was written, 1 where the bags won't do, 2 for a wrong command line.
    """
    from salus_ros.replay.signal_calibration import calibrate

    console = Console(stderr=json_file == "-")
    try:
        recordings = _read(bags, console)
        calibration, source = calibrate(recordings, robot or _robot(recordings), components)
        calibration.save(out)
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror}") from error
    result = _describe(calibration, source)
    console.print(_table(result))
    for line in (*source.notes, *_reasons(recordings)):
        console.print(line, highlight=False)
    if json_file:
        write_json(json_file, {"file": str(out), **result, **provenance()})


def _read(bags: Path, console: Console) -> Recordings:
    from salus_ros.replay.recordings import read_recordings

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("bags", total=None)
        return read_recordings(
            bags, on_bag=lambda done, total: progress.update(task, completed=done, total=total)
        )


def _robot(recordings: Recordings) -> str:
    names = {episode.robot for episode in recordings.episodes} - {""}
    if len(names) != 1:
        known = ", ".join(sorted(names)) or "none"
        raise UserError(f"the bags name {known} as their robot: give --robot")
    return names.pop()


def _reasons(recordings: Recordings) -> list[str]:
    """Why bags were skipped, the first of each kind with how many there were."""
    kinds = Counter(reason.rpartition(": ")[2] for _, reason in recordings.skipped)
    return [f"{count} skipped: {kind}" for kind, count in kinds.most_common(5)]


def _describe(calibration: Calibration, source: CalibrationSource) -> dict[str, Any]:
    whitening = calibration.latent_whitening
    return {
        "robot": calibration.robot,
        "episodes": source.episodes,
        "episodes_left_out": source.left_out,
        "latents": source.latents,
        "latent_width": int(calibration.latent_mean.size),
        "components": int(whitening.shape[1]) if whitening.ndim == 2 else 0,
        "lag_recordings": source.lag_recordings,
        "lag_seconds": [round(float(lag), 4) for lag in calibration.lag_seconds],
        "action_low": [round(float(value), 4) for value in calibration.action_low],
        "action_high": [round(float(value), 4) for value in calibration.action_high],
    }


def _table(result: dict[str, Any]) -> Table:
    table = Table("measured", "value", title=f"signals of {result['robot']}")
    for name, value in result.items():
        text = ", ".join(f"{v:g}" for v in value) if isinstance(value, list) else f"{value}"
        table.add_row(name.replace("_", " "), text)
    return table
