"""`salus train early-exit`: narrow MLPs, probes and settings for a policy, from recorded data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from salus_ros.cli.errors import UserError

if TYPE_CHECKING:
    from salus_ros.policy.early_exit.fitting import ProbeRecord


def early_exit(
    data: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Data set.")],
    weights: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The policy's checkpoint.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="mask, truncate, importance or refit (docs/early_exit.md).")
    ] = "refit",
    episodes: Annotated[int, typer.Option(min=20, help="At most so many episodes.")] = 500,
    per_episode: Annotated[int, typer.Option(min=1, help="Observations of each.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of splits and probes.")] = 0,
    probes: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="npz for `salus evaluate sedac --recorded`."),
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: torch's own.")] = 0,
) -> None:
    """Fit early exit to recorded observations, and certify its settings on other episodes.

    Writes early_exit.json and early_exit.safetensors beside the policy's weights. Data:
    `salus record demos`, best with --policy flow, so that they are what the policy sees.

    Example: salus train early-exit --data demos --weights run

    Exit code: 0 where a setting was certified, 1 where none was or the data won't do.
    """
    try:
        from salus_ros.policy.early_exit import fitting, flow_fit
        from salus_ros.policy.early_exit.narrowing import METHODS
    except ImportError as error:
        raise UserError(f"early exit needs more packages ({error}): run make build") from error
    if method not in METHODS:
        raise UserError(f"method '{method}' is unknown; known: {', '.join(METHODS)}")
    console = Console(stderr=True)
    try:
        parts, record = flow_fit.fit(
            weights, data, method, episodes, per_episode, seed, console.print, threads
        )
        if probes is not None:
            _write(probes, record)
        console.print(_table(parts.fitted["tests"]))
        fitting.require_certified(parts)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error


def _write(file: Path, record: ProbeRecord) -> None:
    import numpy as np

    np.savez(file, risk=record.risk, exit_right=record.exit_right)


def _table(tests: list[dict[str, Any]]) -> Table:
    table = Table("setting", "MLP FLOPs saved", "mean error", "episodes above", "p", "certified")
    table.title = "fixed-sequence tests: error above 5 % in at most a tenth of the episodes"
    for test in tests:
        table.add_row(
            test["setting"],
            f"{test['saving']:.1%}",
            f"{test['mean_error']:.2%}",
            f"{test['above']} of {test['episodes']}",
            f"{test['p_value']:.2g}",
            "yes" if test["passes"] else "no",
        )
    return table
