"""`salus record`: what a graph publishes, and whole data sets of episodes, as rosbag2 bags."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from salus_ros.cli import record_rollouts, record_topics

DEFAULT_COMMAND = "topics"


class _WithDefault(TyperGroup):
    """Without the name of a sub-command, DEFAULT_COMMAND is meant: `salus record /joint_states`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        default = [DEFAULT_COMMAND] if DEFAULT_COMMAND in self.commands else []
        return list(super().parse_args(ctx, args if named else [*default, *args]))


app = typer.Typer(
    cls=_WithDefault,
    help="Record a running graph, or whole data sets of episodes, as rosbag2 bags.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _record() -> None:
    """Record a running graph, or whole data sets of episodes, as rosbag2 bags."""


app.command()(record_topics.topics)
app.command()(record_topics.label)
app.command()(record_topics.repair)
app.command()(record_rollouts.rollouts)
