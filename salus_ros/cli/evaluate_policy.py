"""`salus evaluate policy`: success, obedience, merging modes, latency."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import USAGE, UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json
from salus_ros.sim.series import FIRST_UNSEEN_SEED


def policy(
    policy: Annotated[str, typer.Option(help="Policy to evaluate.")] = "flow",
    weights: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Its checkpoint.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per instruction.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first start state.")
    ] = FIRST_UNSEEN_SEED,
    latency: Annotated[
        list[float] | None, typer.Option(help="Injected latency [s]; may be repeated.")
    ] = None,
    merging: Annotated[
        list[str] | None,
        typer.Option(help="Merging mode; may be repeated; else that of sim_panda.yaml."),
    ] = None,
    horizon: Annotated[
        int, typer.Option(min=0, help="Rows executed of each chunk; 0: as sim_panda.yaml says.")
    ] = 0,
    samples: Annotated[
        int,
        typer.Option(min=1, help="Noise draws; the first is executed, so more only take longer."),
    ] = 1,
    disturbance: Annotated[str, typer.Option(help="Disturbance of every episode.")] = "",
    real_time: Annotated[
        bool,
        typer.Option(
            "--real-time/--lock-step", help="In the running ROS graph, as sim_panda.yaml says."
        ),
    ] = False,
    json_file: JsonFile = "",
) -> None:
    """Run a policy on start states that it never saw, and count what it does right.

    In lock-step, with rendered cameras, for each merging mode and latency; or in real time through
    the ROS graph. Seeds from 1 000 000 on are never trained on.

    Example: salus evaluate policy --episodes 20 --latency 0.07 --json policy.json

    Exit code: 0 where it ran, whatever it found; 1 where it could not run.
    """
    from salus_ros.sim.running_policy import sim_policy

    console = Console(stderr=json_file == "-")
    options: dict[str, Any] = {"checkpoint": str(weights)} if weights else {}
    if real_time and (latency or merging or horizon or samples != 1):
        raise UserError(
            "--real-time takes latency, merging, horizon and samples from sim_panda.yaml", USAGE
        )
    try:
        if real_time:
            content = _run_graph(console, (policy, options, episodes, seed), disturbance)
        else:
            running = sim_policy(policy, options | _sampling(policy, samples))
            settings = [
                (lag, mode, horizon or running.execution_horizon, disturbance)
                for mode in merging or [running.merging]
                for lag in latency or [0.07]
            ]
            what = (policy, dict(running.options), episodes, seed)
            content = _run_lockstep(console, what, settings)
    except ValueError as error:
        raise UserError(str(error)) from error
    for table in _tables(content["settings"]):
        console.print(table)
    if json_file:
        from salus_ros.bench.provenance import provenance

        write_json(json_file, {**content, **provenance()})


def _sampling(policy: str, samples: int) -> dict[str, int]:
    from salus_ros.policy.registry import option_names

    return {"action_samples": samples} if "action_samples" in option_names(policy) else {}


def _run_lockstep(
    console: Console,
    what: tuple[str, dict[str, Any], int, int],
    settings: list[tuple[float, str, int, str]],
) -> dict[str, Any]:
    from salus_ros.bench import policy_study as study

    name, options, episodes, seed = what
    series = study.episodes_of(episodes, seed)
    found = []
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("episodes", total=len(series) * len(settings))
        for values in settings:
            setting = study.Setting(*values)
            results = study.evaluate(
                series, name, options, setting, lambda _: progress.advance(bar)
            )
            found.append(study.to_json(setting, results))
    return {**_described(what, "lock-step"), **_without_setting(found[0]), "settings": found}


def _run_graph(
    console: Console, what: tuple[str, dict[str, Any], int, int], disturbance: str
) -> dict[str, Any]:
    """What ran until an interrupt or a failure of the graph is kept, and said to be no more."""
    from salus_ros.bench import policy_study as study
    from salus_ros.cli.policy_graph import run_graph

    name, options, episodes, seed = what
    series = study.episodes_of(episodes, seed)
    results: list[study.Result] = []
    more: dict[str, Any] = {}
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("episodes", total=len(series))

        def take(result: study.Result) -> None:
            results.append(result)
            progress.advance(bar)

        try:
            more = run_graph(series, {"policy": name, **options}, disturbance, take)
        except (KeyboardInterrupt, UserError) as error:
            if not results:
                raise
            more = {"ended_early": str(error) or "interrupted"}
            console.print(f"ended after {len(results)} episodes: {more['ended_early']}")
    found = study.summary(results)
    return {
        **_described(what, "ROS graph"),
        **found,
        "failed_episodes": [asdict(r) for r in results if not (r.success and r.right_block)],
        **more,
        "settings": [found],
    }


def _described(what: tuple[str, dict[str, Any], int, int], where: str) -> dict[str, Any]:
    name, options, episodes, seed = what
    return {
        "evaluation": "policy",
        "in": where,
        "policy": name,
        "options": options,
        "episodes_per_instruction": episodes,
        "seed": seed,
    }


def _without_setting(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "setting"}


def _tables(settings: list[dict[str, Any]]) -> list[Table]:
    first = Table("instruction", "success", "95 %", "right block", "95 %")
    rows = {**settings[0]["by_instruction"], "all": settings[0]}
    for name, row in rows.items():
        first.add_row(name, *_rate(row, "success"), *_rate(row, "right_block"))
    tables = [first]
    if len(settings) > 1:
        others = Table("merging", "latency", "success", "95 %", "right block", "95 %")
        for row in settings:
            setting = row["setting"]
            others.add_row(
                setting["merging"],
                f"{setting['latency'] * 1e3:.0f} ms",
                *_rate(row, "success"),
                *_rate(row, "right_block"),
            )
        tables.append(others)
    return tables


def _rate(row: dict[str, Any], name: str) -> tuple[str, str]:
    low, high = row[f"{name}_interval"]
    return f"{row[f'{name}_rate']:.3f}", f"{low:.3f} to {high:.3f}"
