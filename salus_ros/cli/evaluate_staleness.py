"""`salus evaluate staleness`: what long execution horizons and delays cost in the task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from salus_ros.cli.errors import UserError
from salus_ros.cli.options import FirstSeed, JsonFile
from salus_ros.cli.output import write_json
from salus_ros.sim.series import FIRST_UNSEEN_SEED

HORIZONS = (1, 8, 32)
DELAYS = (0.033, 0.1, 0.2)


def staleness(
    policy: Annotated[str, typer.Option(help="Policy to run.")] = "flow",
    weights: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Its checkpoint.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per instruction.")] = 25,
    seed: FirstSeed = FIRST_UNSEEN_SEED,
    horizon: Annotated[
        list[int] | None, typer.Option(min=1, help="Rows executed of a chunk; may be repeated.")
    ] = None,
    delay: Annotated[
        list[float] | None,
        typer.Option(min=0.0, max=1.0, help="Time an inference takes [s]; may be repeated."),
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Loss of success that does no harm.")
    ] = 0.1,
    json_file: JsonFile = "",
) -> None:
    """Run a policy in lock-step at several horizons and delays; derive a limit of staleness.

    The limit is the largest age of an observation, in control steps, up to which no setting loses
    more success than the margin, at 95 %; `salus compile --staleness-study` keeps to it.

    Example: salus evaluate staleness --episodes 25 --json staleness.json

    Exit code: 0 where it ran, whatever it found; 1 where it could not run.
    """
    from salus_ros.bench import staleness as study
    from salus_ros.bench.policy_study import episodes_of
    from salus_ros.bench.provenance import provenance

    console = Console(stderr=json_file == "-")
    options: dict[str, Any] = {"checkpoint": str(weights)} if weights else {}
    if policy == "flow":
        options["action_samples"] = 1  # the first is executed, more only take longer
    settings = [(h, d) for h in horizon or HORIZONS for d in delay or DELAYS]
    series = episodes_of(episodes, seed)
    cells = []
    try:
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("episodes", total=len(series) * len(settings))
            for setting in settings:
                cells.append(
                    study.run_cell(
                        series, policy, options, setting, lambda _: progress.advance(bar)
                    )
                )
    except ValueError as error:
        raise UserError(str(error)) from error
    content = study.to_json(cells, margin)
    console.print(_table(content))
    found = content["limit"]
    console.print(
        f"no loss above {margin:.0%} up to an age of {found['age']} control steps (staleness "
        f"{found['staleness']})"
    )
    if json_file:
        what = {"evaluation": "staleness", "policy": policy, "seed": seed, **options}
        write_json(json_file, {**what, **content, **provenance()})


def _table(content: dict[str, Any]) -> Table:
    table = Table("horizon", "delay", "age p95, steps", "success", "95 %", "loss, 95 %")
    for cell in sorted(content["cells"], key=lambda row: float(row["age"])):
        low, high = cell["interval"]
        least, most = cell["loss_interval"]
        table.add_row(
            f"{cell['horizon']}",
            f"{cell['delay'] * 1e3:.0f} ms",
            f"{cell['age']:.1f}",
            f"{cell['successes']} of {cell['episodes']}",
            f"{low:.3f} to {high:.3f}",
            f"{least:+.3f} to {most:+.3f}",
        )
    return table
