"""`salus evaluate gating`: what acting on failure predictions changes."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json
from salus_ros.reporting import interval_text


def gating(
    policy: Annotated[str, typer.Option(help="Policy.")] = "flow",
    policy_options: Annotated[str, typer.Option(help="Options of the policy, JSON.")] = "{}",
    checkpoint: Annotated[
        str, typer.Option(help="Checkpoint of the predictor; empty: the parameter file's.")
    ] = "",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes; each is run twice.")] = 200,
    disturbance: Annotated[
        list[str] | None, typer.Option(help="Disturbance, more than once; all: every one.")
    ] = None,
    nominal_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Part without a disturbance.")
    ] = 0.4,
    seed: Annotated[
        int, typer.Option(min=0, max=2000, help="Other than that of the rollouts trained on.")
    ] = 1500,
    json_file: JsonFile = "",
) -> None:
    """Run the same episodes with the predictor's gating off and on, and compare.

    Collisions, drops, misses, timeouts, successes and time, each with its 95 % interval.

    Example: salus evaluate gating --episodes 200 --disturbance all --json gating.json

    Exit code: 0 where it ran, whatever it found; 1 where it could not run.
    """
    from salus_ros.bench import gating as study
    from salus_ros.bench.provenance import provenance
    from salus_ros.sim.lockstep_series import sim_predictor
    from salus_ros.sim.rollout_plan import named_disturbances, plan_episodes

    console = Console(stderr=json_file == "-")
    try:
        predictor = sim_predictor(checkpoint)
        if predictor is None:
            raise UserError("no predictor: give --checkpoint FILE (salus train predictor)")
        names = named_disturbances(disturbance or [])
        planned = plan_episodes(episodes, seed, names, nominal_share)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("episodes", total=episodes)
            pairs = study.run_pairs(
                planned,
                policy,
                json.loads(policy_options),
                predictor,
                lambda: progress.advance(task),
            )
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    content = study.compare(pairs)
    console.print(_table(content))
    if json_file:
        settings = {"policy": policy, "seed": seed, "disturbances": list(names)}
        write_json(json_file, {**content, **settings, **provenance()})


def _table(content: dict[str, Any]) -> Table:
    table = Table("", "gating off", "gating on", "difference [95 %]")
    table.title = "episodes from the same seeds"
    for name, group in content["groups"].items():
        for outcome in ("success", "collision", "drop", "miss", "timeout"):
            told = group[outcome]
            table.add_row(
                f"{name} ({group['episodes']}): {outcome}",
                str(told["off"]["count"]),
                str(told["on"]["count"]),
                interval_text(told["difference"], "none"),
            )
        times = group["time_of_successes"]
        table.add_row(
            f"{name}: time of successes [s]",
            interval_text(times["off"], "none"),
            interval_text(times["on"], "none"),
            interval_text(times["difference_where_both_succeed"], "none"),
        )
    return table
