"""`salus up`: the whole graph, for machines without `ros2 launch`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated

import typer

from salus_ros.cli.errors import UserError
from salus_ros.cli.graph import graph_processes, parameter_file, require_ros
from salus_ros.cli.processes import (
    MANAGER,
    RIG,
    ProcessGroup,
    interrupt_on_signals,
    quiet_environment,
)
from salus_ros.policy_choice import choose_policy

# Lost helpers are started again; policy and supervisor only by a person who has looked why.
RESTARTABLE = ("signal_publisher", "failure_predictor")


def up(
    config: Annotated[
        str, typer.Option(help="Parameter file: a path, or a name in config/.")
    ] = "sim_panda",
    sim: Annotated[bool, typer.Option(help="Start the simulated rig, too.")] = False,
    policy: Annotated[str, typer.Option(help="Policy; empty: the parameter file's.")] = "",
    restart: Annotated[
        bool, typer.Option(help="Restart signal_publisher and failure_predictor when they die.")
    ] = False,
    once: Annotated[
        bool, typer.Option(help="With --sim: one episode; the arm stays where it ended.")
    ] = False,
) -> None:
    """Start all nodes, bring them up in order, run until Ctrl-C.

    With --sim the rig begins episode after episode, each with the next seed. None is begun while a
    stop, an emergency stop or a hold that a person asked for is in force.

    Example: salus up --sim --config sim_panda
    """
    require_ros()
    quiet_environment(None)
    file = parameter_file(config)
    parameters: dict[str, dict[str, object]] = {
        MANAGER: {"exit_on_failure": True, "restore_lost_nodes": restart},
        RIG: {"reset_at_start": False},
        **choose_policy(file, policy),
    }
    processes = graph_processes(file, sim, parameters)
    interrupt_on_signals()
    try:
        with ExitStack() as stack:
            next_episode = _next_episodes(stack, once) if sim else lambda: None
            group = stack.enter_context(ProcessGroup(processes))
            _watch(group, restart, next_episode)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)


def _next_episodes(stack: ExitStack, once: bool) -> Callable[[], None]:
    """Begins the rig's next episode where the last one is over.

    Raises UserError where the first can't be begun.
    """
    from salus_ros.cli.next_episodes import NextEpisodes
    from salus_ros.nodes.graph_client import GraphClient, GraphError

    client = stack.enter_context(GraphClient(None))
    episodes = NextEpisodes(client, once)

    def begin() -> None:
        try:
            episodes.look()
        except GraphError as error:
            if client.episode.number == 0:
                raise UserError(str(error)) from error
            typer.echo(f"no next episode: {error}", err=True)

    return begin


def _watch(group: ProcessGroup, restart: bool, next_episode: Callable[[], None]) -> None:
    """Until a node ends by itself, which it does only where it can't work. Raises UserError then.

    A node that was killed is reported, and restarted if so wished; the rest goes on as it must:
    the supervisor holds the arm.
    """
    reported: set[str] = set()
    while True:
        for name, code in group.ended().items():
            if code >= 0:
                raise UserError(f"{name} ended with exit code {code}: its own log says why")
            if restart and name in RESTARTABLE:
                typer.echo(f"{name} was killed by signal {-code}: restarting it", err=True)
                group.restart(name)
            elif name not in reported:
                reported.add(name)
                typer.echo(f"{name} was killed by signal {-code}; Ctrl-C ends the rest", err=True)
        if not group.ended():
            next_episode()
        time.sleep(0.2)
