"""A graph of our own coming up, and what is said where it fails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from salus_ros.cli.errors import UserError
from salus_ros.cli.processes import MANAGER, ProcessGroup

if TYPE_CHECKING:
    from salus_ros.nodes.graph_client import GraphClient

START_TIMEOUT = 60.0  # s


def wait_for_graph(client: GraphClient, group: ProcessGroup) -> None:
    """Wait until the graph's services are there. Raises UserError where they don't come."""
    deadline = time.monotonic() + START_TIMEOUT
    while not client.services_ready():
        fail_if_ended(group)
        if time.monotonic() > deadline:
            raise UserError(f"the graph is not there after {START_TIMEOUT:g} s")
        time.sleep(0.05)


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
