"""`salus evaluate early-exit`: what early exit saves and what it costs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from salus_ros.cli.errors import UserError
from salus_ros.cli.options import JsonFile
from salus_ros.cli.output import write_json, write_report
from salus_ros.sim.series import FIRST_UNSEEN_SEED


def early_exit(
    data: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Data set that it was fitted to.")
    ],
    weights: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The policy's checkpoint.")
    ] = None,
    episodes: Annotated[
        int, typer.Option(min=0, help="Lock-step episodes per instruction; 0: no task success.")
    ] = 20,
    chunks: Annotated[
        int, typer.Option(min=0, help="Chunks timed per setting; 0: no errors, no latency.")
    ] = 200,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first start state.")
    ] = FIRST_UNSEEN_SEED,
    json_file: JsonFile = "",
    report: Annotated[Path | None, typer.Option(help="HTML file for plots; needs plotly.")] = None,
) -> None:
    """Action error, MLP FLOPs, latency and task success: soft, hard and single-layer exits.

    Against the full model, on the same noise and start states.

    Example: salus evaluate early-exit --data demos --weights run --json early_exit.json

    Exit code: 0 where it ran, whatever it found; 1 where it could not run.
    """
    from salus_ros.bench.provenance import provenance

    try:
        from salus_ros.bench import early_exit as study
    except ImportError as error:
        raise UserError(f"early exit needs more packages ({error}): run make build") from error
    console = Console(stderr=json_file == "-")
    try:
        run = study.Study(weights, data, lambda line: console.print(line, highlight=False))
        errors, methods, latency = {}, {}, {}
        if chunks:
            errors, methods, latency = run.errors(), run.methods(), run.latency(chunks)
        success = run.success(episodes, seed) if episodes else {}
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error
    content = {
        "evaluation": "early-exit",
        "setting": {**run.parts.fitted, "method": run.parts.method, "seed_of_success": seed},
        "verdict": study.verdict(errors, latency, success),
        "errors": errors,
        "methods": methods,
        "latency": latency,
        "success": success,
    }
    for table in _tables(content):
        console.print(table)
    if json_file:
        write_json(json_file, {**content, **provenance()})
    if report is not None and chunks:
        from salus_ros.bench.early_exit_report import write_report as write

        write_report(report, partial(write, report, content))


def _tables(content: dict[str, Any]) -> list[Table]:
    tables = [_settings(content), _verdict(content["verdict"])]
    return tables[:1] + [_methods(content["methods"])] * bool(content["methods"]) + tables[1:]


def _settings(content: dict[str, Any]) -> Table:
    table = Table("setting", "saved", "error", "episodes > 5 %", "CPU p50", "wall p50", "success")
    table.title = "MLP FLOPs saved, mean relative action error, time per chunk, task success"
    for name in dict.fromkeys([*content["latency"], *content["errors"], *content["success"]]):
        times = content["latency"].get(name)
        row = content["errors"].get(name)
        success = content["success"].get(name)
        table.add_row(
            name,
            f"{row['saving']:.1%}" if row else "",
            f"{row['mean_error']:.2%}" if row else "",
            f"{row['above']} of {row['episodes']}" if row else "",
            f"{times['cpu_p50'] * 1e3:.1f} ms" if times else "",
            f"{times['wall_p50'] * 1e3:.1f} ms" if times else "",
            _rate(success) if success else "",
        )
    return table


def _rate(success: dict[str, Any]) -> str:
    low, high = success["success_interval"]
    return f"{success['success_rate']:.3f} [{low:.3f}, {high:.3f}]"


def _methods(methods: dict[str, dict[str, float]]) -> Table:
    shares = list(next(iter(methods.values())))
    table = Table("method", *(f"skip {share}" for share in shares))
    table.title = "mean relative action error where every chunk skips the same share"
    for name, row in methods.items():
        table.add_row(name, *(f"{row[share]:.2%}" for share in shares))
    return table


def _verdict(verdict: dict[str, bool]) -> Table:
    table = Table("to be shown", "")
    for name, shown in verdict.items():
        table.add_row(name.replace("_", " "), "yes" if shown else "NO")
    return table
