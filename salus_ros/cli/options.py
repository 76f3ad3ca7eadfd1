"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonFile = Annotated[str, typer.Option("--json", help="File for the results; -: standard output.")]
ReportFile = Annotated[
    Path | None, typer.Option(help="HTML file for plots and numbers; needs plotly.")
]
FirstSeed = Annotated[int, typer.Option(min=0, help="Seed of the first start state.")]
