"""`salus record [TOPICS]`, `salus record label` and `salus record repair`."""

from __future__ import annotations

import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from salus_ros.cli.errors import USAGE, UserError
from salus_ros.cli.graph import require_ros
from salus_ros.cli.processes import stay_on_this_machine
from salus_ros.replay.errors import BagError
from salus_ros.replay.storage import Storage

if TYPE_CHECKING:
    from salus_ros.nodes.recorder import Recorder


class Outcome(str, Enum):
    """What a label says."""

    BEGIN = "begin"
    SUCCESS = "success"
    COLLISION = "collision"
    DROP = "drop"
    MISS = "miss"
    TIMEOUT = "timeout"


def topics(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPICS]", help="Topics; none: SALUS's own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder of the bag; else named after the time.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Record every topic that there is.")
    ] = False,
    storage: Annotated[Storage, typer.Option(help="File format.")] = Storage.MCAP,
    duration: Annotated[
        float, typer.Option(min=0.0, help="End after so many seconds; 0: at Ctrl-C.")
    ] = 0.0,
) -> None:
    """Record a running graph until Ctrl-C.

    The bag is whole at any time: a crash costs no more than the last second. Without
    ROS_AUTOMATIC_DISCOVERY_RANGE only this machine is looked at; SUBNET: others, too.

    Example: salus record --out bag/

    Exit code: 0 where something was recorded, 1 where nothing was or the bag can't be written.
    """
    require_ros()
    stay_on_this_machine()
    from salus_ros.nodes.recording import record

    names = names or []
    for name in names:
        if not name.startswith("/"):
            raise UserError(f"'{name}' is no topic: topics begin with /", USAGE)
    if names and everything:
        raise UserError("give topics or --all, not both", USAGE)
    folder = out or Path(time.strftime("salus_%Y_%m_%d-%H_%M_%S"))
    console = Console(stderr=True)
    try:
        with Live(console=console, refresh_per_second=2, transient=True) as live:
            show = _Shown(live, folder)
            recorder = record(folder, storage, names or None, everything, show, duration)
    except BagError as error:
        raise UserError(str(error), USAGE) from error
    _report(recorder, folder, console, asked=bool(names))


class _Shown:
    """Shows the counts, a few times a second."""

    def __init__(self, live: Live, folder: Path) -> None:
        self._live, self._folder = live, folder
        self._next = 0.0

    def __call__(self, recorder: Recorder) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.5
            self._live.update(_table(recorder, self._folder))


def _table(recorder: Recorder, folder: Path) -> Table:
    table = Table("topic", "messages", title=f"recording to {folder}, Ctrl-C ends it")
    for topic, count in sorted(recorder.counts.items()):
        table.add_row(topic, f"{count}")
    return table


def _report(recorder: Recorder, folder: Path, console: Console, asked: bool) -> None:
    total = sum(recorder.counts.values())
    if recorder.problem:
        raise UserError(f"{recorder.problem}; {total} messages are in {folder}")
    if recorder.left_out:
        console.print(f"{recorder.left_out} messages were left out: the disk is too slow")
    if asked and recorder.missing:
        console.print(f"nothing came on {', '.join(recorder.missing)}")
    if not total:
        raise UserError(
            f"nothing came: is a graph running on this ROS_DOMAIN_ID? ({folder} is empty)"
        )
    console.print(f"{total} messages on {len(recorder.counts)} topics are in {folder}")


def label(
    outcome: Annotated[Outcome, typer.Argument(help="begin, success, or what kind of failure.")],
    instruction: Annotated[str, typer.Option(help="The task, at begin.")] = "",
    ago: Annotated[
        float, typer.Option(min=0.0, max=3600.0, help="How long ago it happened [s].")
    ] = 0.0,
) -> None:
    """Tell the recording of a real robot when an episode begins and how it ends.

    Example: salus record label begin --instruction "pick up the red block"; later: salus record
    label drop --ago 1.5
    """
    require_ros()
    stay_on_this_machine()
    from salus_ros.nodes.recording import tell

    if not tell(outcome.value, instruction, ago):
        raise UserError("nobody takes the label: start salus record first")


def repair(
    bag: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of the bag.")],
) -> None:
    """Make a bag whole that a crash or a loss of power has torn; the torn file is kept beside.

    Example: salus record repair bag/

    Exit code: 0 where the bag is whole now, 1 where nothing of it can be read.
    """
    from salus_ros.replay.repair import is_whole
    from salus_ros.replay.repair import repair as make_whole

    try:
        if is_whole(bag):
            typer.echo(f"{bag} is whole already")
            return
        typer.echo(f"{bag} is whole again, with {make_whole(bag)} messages")
    except BagError as error:
        raise UserError(str(error)) from error
