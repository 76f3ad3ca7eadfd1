"""Options that several commands have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from salus_ros.cli.errors import USAGE, UserError

JsonFile = Annotated[str, typer.Option("--json", help="File for the results; -: standard output.")]
ReportFile = Annotated[
    Path | None, typer.Option(help="HTML file for plots and numbers; needs plotly.")
]
FirstSeed = Annotated[int, typer.Option(min=0, help="Seed of the first start state.")]


def json_options(text: str) -> dict[str, Any]:
    """What --policy-options gives. Raises UserError."""
    try:
        options = json.loads(text)
    except ValueError as error:
        raise UserError(f"--policy-options is no JSON: {error}", USAGE) from error
    if not isinstance(options, dict):
        raise UserError("--policy-options must be a JSON object: {...}", USAGE)
    return options
