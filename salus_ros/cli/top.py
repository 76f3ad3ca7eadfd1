"""`salus top`: the running graph, live on a terminal; it reads topics and changes nothing."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from salus_ros.cli.errors import UserError
from salus_ros.cli.graph import require_ros
from salus_ros.cli.output import write_json
from salus_ros.cli.top_view import view

if TYPE_CHECKING:
    from salus_ros.nodes.graph_watch import GraphWatch

REFRESH = 0.25  # s


def top(
    seconds: Annotated[
        float, typer.Option(help="End after so long [s]; 0: at Ctrl-C.", min=0.0)
    ] = 0.0,
    svg: Annotated[str, typer.Option(help="File for a picture of the last view.")] = "",
    json_file: Annotated[
        str, typer.Option("--json", help="File for the last view's values; -: standard output.")
    ] = "",
) -> None:
    """Nodes, rates, ages, signals, failure probabilities, mode and interventions, as they are now.

    Example: salus top
    """
    require_ros()
    from salus_ros.nodes.graph_watch import GraphWatch

    console = Console(stderr=json_file == "-")
    with GraphWatch() as watch:
        with suppress(KeyboardInterrupt):
            _show(watch, console, seconds)
        with watch.lock:
            if json_file:
                write_json(json_file, watch.state.as_dict(time.monotonic()))
            if svg:
                _draw(watch, svg)


def _show(watch: GraphWatch, console: Console, seconds: float) -> None:
    """Redraw in place on a terminal; elsewhere once, at the end."""
    deadline = time.monotonic() + seconds if seconds else None
    live = Live(console=console, auto_refresh=False, screen=console.is_terminal and not seconds)
    with live:
        while deadline is None or time.monotonic() < deadline:
            time.sleep(REFRESH)
            if console.is_terminal:
                with watch.lock:
                    live.update(view(watch.state, time.monotonic()), refresh=True)
        with watch.lock:
            live.update(view(watch.state, time.monotonic()), refresh=True)


def _draw(watch: GraphWatch, file: str) -> None:
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=132, file=nowhere)
        console.print(view(watch.state, time.monotonic()))
    try:
        console.save_svg(file, title="salus top")
    except OSError as error:
        raise UserError(f"can't write {file}: {error.strerror}") from error
