"""A graph of our own coming up, and what is said where it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from salus_ros.cli.errors import UserError
from salus_ros.cli.graph import graph_processes, parameter_file, require_ros, use_free_domain
from salus_ros.cli.processes import (
    MANAGER,
    POLICY,
    RIG,
    ProcessGroup,
    interrupt_on_signals,
    quiet_environment,
    temporary_log_folder,
)
from salus_ros.policy_choice import choose_policy

if TYPE_CHECKING:
    from salus_ros.nodes.graph_client import GraphClient

START_TIMEOUT = 60.0  # s


@contextmanager
def sim_graph(
    make_client: Callable[[], GraphClient],
    policy: Mapping[str, object],
    listen: Callable[[GraphClient], None] = lambda _: None,
) -> Iterator[tuple[GraphClient, ProcessGroup]]:
    """The graph of sim_panda in a ROS domain of its own, for a series of episodes.

    policy: parameters of its node over the file's. listen: called before anything is published.
    Raises UserError where the graph fails, also for what the block asks of it.
    """
    require_ros()
    from salus_ros.nodes.graph_client import GraphError

    file = parameter_file("sim_panda")
    chosen = choose_policy(file, str(policy.get("policy", "")))
    parameters: dict[str, Mapping[str, object]] = {
        **chosen,
        RIG: {"reset_at_start": False},
        MANAGER: {"autostart": False},
        POLICY: {**chosen.get(POLICY, {}), **policy},
    }
    interrupt_on_signals()
    with ExitStack() as stack:
        log_folder = Path(stack.enter_context(temporary_log_folder()))
        quiet_environment(log_folder)
        use_free_domain()
        client = stack.enter_context(make_client())
        listen(client)
        processes = graph_processes(file, True, parameters)
        group = stack.enter_context(ProcessGroup(processes, log_folder))
        try:
            wait_for_graph(client, group)
            yield client, group
        except GraphError as error:
            raise UserError(explained(str(error), group)) from error


def wait_for_graph(client: GraphClient, group: ProcessGroup) -> None:
    """Wait until the graph's services are there. Raises UserError where they don't come."""
    deadline = time.monotonic() + START_TIMEOUT
    while not client.services_ready():
        fail_if_ended(group)
        if time.monotonic() > deadline:
            raise UserError(f"the graph is not there after {START_TIMEOUT:g} s")
        time.sleep(0.05)


def wait_for_end(
    client: GraphClient,
    group: ProcessGroup,
    number: int,
    timeout: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> bool:
    """Wait [s] until the rig's episode of that number has ended; False where it doesn't.

    Raises UserError where a node ends.
    """
    deadline = time.monotonic() + timeout
    while not client.episode_ended(number, timeout=0.1):
        fail_if_ended(group)
        meanwhile()
        if time.monotonic() > deadline:
            return False
    return True


def fail_if_ended(group: ProcessGroup) -> None:
    """Raise UserError where a node has ended."""
    for name, code in group.ended().items():
        what = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise UserError(explained(f"{name} {what}", group, name))


def explained(message: str, group: ProcessGroup, name: str = "") -> str:
    """The message with the last error that a node logged; the manager only repeats others'."""
    names = [name] if name else [n for n in group.processes if n != MANAGER]
    lines = [line for n in names if (line := group.last_error(n))]
    return f"{message}: {lines[-1]}" if lines else message
