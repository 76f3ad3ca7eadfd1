"""`salus evaluate chunking`: seams, gaps and ages of plans, before the supervisor."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json
from salus_ros.sim.series import FIRST_UNSEEN_SEED

if TYPE_CHECKING:
    from salus_ros.bench.chunking import Setting

JOINTS = 7


def chunking(
    policy: Annotated[str, typer.Option(help="Policy to run.")] = "flow",
    weights: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Its checkpoint.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per setting.")] = 8,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first start state.")
    ] = FIRST_UNSEEN_SEED,
    merging: Annotated[
        list[str] | None, typer.Option(help="Merging mode; may be repeated; all, if not given.")
    ] = None,
    schedule: Annotated[str, typer.Option(help="Soft mask of mode rtc.")] = "exp",
    latency: Annotated[
        list[float] | None, typer.Option(help="Injected latency [s]; may be repeated.")
    ] = None,
    jitter: Annotated[float, typer.Option(min=0.0, help="Random latency on top, up to [s].")] = 0.0,
    horizon: Annotated[int, typer.Option(min=1, help="Rows executed of each chunk.")] = 3,
    speed: Annotated[
        float, typer.Option(min=0.0, help="Speed of the policy's motions; 0: as demonstrated.")
    ] = 0.0,
    minutes: Annotated[
        float, typer.Option(min=0.0, help="Instead run the ROS graph for so long; one setting.")
    ] = 0.0,
    json_file: JsonFile = "",
) -> None:
    """Look at the published plans: jumps at seams against those inside chunks, gaps, ages.

    In lock-step, for each merging mode and latency. With --minutes in the running ROS graph, each
    inference delayed by a random time from 0 to --latency.

    Example: salus evaluate chunking --merging rtc --latency 0.1 --json chunking.json

    Exit code: 0 where it ran, whatever it found; 1 where it could not run.
    """
    from salus_ros.bench.chunking import Setting
    from salus_ros.policy.merging import MERGING_MODES

    console = Console(stderr=json_file == "-")
    options: dict[str, Any] = {"checkpoint": str(weights)} if weights else {}
    if speed:
        options["speed"] = speed
    settings = [
        Setting(mode, lag, jitter, horizon, schedule)
        for mode in merging or MERGING_MODES
        for lag in (latency or [0.07])
    ]
    try:
        if minutes:
            found = [_graph(minutes, seed, policy, options, settings[0])]
        else:
            found = _lockstep(console, (policy, options, episodes, seed), settings)
    except ValueError as error:
        raise UserError(str(error)) from error
    console.print(_table(found))
    if json_file:
        from salus_ros.bench.provenance import provenance

        content = {"evaluation": "chunking", "policy": policy, "seed": seed, "settings": found}
        write_json(json_file, {**content, **options, **provenance()})


def _lockstep(
    console: Console, what: tuple[str, dict[str, Any], int, int], settings: list[Setting]
) -> list[dict[str, Any]]:
    from salus_ros.bench import chunking as study
    from salus_ros.sim.tasks import TASKS

    policy, options, episodes, seed = what
    # Three apart, so that few episodes already hold picks and reaches.
    series = [(TASKS[3 * k % len(TASKS)].instruction, seed + k) for k in range(episodes)]
    found = []
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("episodes", total=len(series) * len(settings))
        for setting in settings:
            watched = study.watch(series, policy, options, setting, lambda _: progress.advance(bar))
            found.append({"setting": asdict(setting), **study.summary(watched, JOINTS)})
    return found


def _graph(
    minutes: float, seed: int, policy: str, options: dict[str, Any], setting: Setting
) -> dict[str, Any]:
    from salus_ros.bench import chunking as study
    from salus_ros.cli.chunking_graph import run_graph

    parameters: dict[str, object] = {
        "policy": policy,
        "merging": setting.merging,
        "rtc_schedule": setting.rtc_schedule,
        "execution_horizon": setting.execution_horizon,
        "injected_latency": setting.latency,
        **options,
    }
    watched = run_graph(minutes, seed % 100_000, parameters)
    return {
        "setting": {"in": "ROS graph", "minutes": minutes, **parameters},
        "age_bound": round(setting.latency + study.AGE_ALLOWANCE, 4),
        **study.summary([episode for episode in watched if episode.arrivals], JOINTS),
    }


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(
        "merging",
        "latency",
        "success",
        "dry",
        "age p50, p95",
        "seam p95: over the replaced, over inside: position",
        "velocity",
        "acceleration",
        "not NOMINAL",
    )
    for row in found:
        setting, jumps = row["setting"], row["jumps"]
        latency = setting.get("latency", setting.get("injected_latency", 0.0))
        table.add_row(
            setting["merging"],
            f"{latency * 1e3:.0f} ms",
            f"{row['successes']} of {row['episodes']}",
            str(row["dry"]),
            f"{row['age_p50']:.2f}, {row['age_p95']:.2f} s",
            *(_ratio(jumps[name]) for name in ("position", "velocity", "acceleration")),
            f"{100 * (1 - row['gate_time'].get('NOMINAL', 0.0)):.1f} %",
        )
    return table


def _ratio(jump: dict[str, Any]) -> str:
    if jump["ratio"] is None:
        return "-"
    return f"{jump['seam_p95']:.3g}: {jump['ratio']:.2f}, {jump['ratio_inside']:.2f}"
