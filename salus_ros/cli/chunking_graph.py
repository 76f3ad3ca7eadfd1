"""Episodes in the running graph for so many minutes, with all plans kept."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from salus_ros.bench.chunking import Watched, watched_graph
from salus_ros.cli.bring_up import explained, fail_if_ended, wait_for_graph
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

if TYPE_CHECKING:
    from salus_ros.nodes.chunk_watch import ChunkWatch
    from salus_ros.nodes.graph_client import GraphClient

EPISODE_TIMEOUT = 25.0  # s


def run_graph(minutes: float, seed: int, policy: dict[str, object]) -> list[Watched]:
    """Run episodes of the simulated Panda; policy: parameters of its node.

    One `Watched` for each episode. Raises UserError where the graph fails.
    """
    require_ros()
    from salus_ros.nodes.chunk_watch import ChunkWatch
    from salus_ros.nodes.graph_client import GraphClient, GraphError

    interrupt_on_signals()
    parameters: dict[str, dict[str, object]] = {
        RIG: {"reset_at_start": False},
        MANAGER: {"autostart": False},
        POLICY: policy,
    }
    with ExitStack() as stack:
        log_folder = Path(stack.enter_context(temporary_log_folder()))
        quiet_environment(log_folder)
        use_free_domain()
        watch = ChunkWatch()
        client = stack.enter_context(GraphClient(lambda *_: None, lambda _: None, watch.on_state))
        watch.listen(client)
        processes = graph_processes(parameter_file("sim_panda"), True, parameters)
        group = stack.enter_context(ProcessGroup(processes, log_folder))
        try:
            wait_for_graph(client, group)
            return _episodes(minutes, seed, client, watch, group)
        except GraphError as error:
            raise UserError(explained(str(error), group)) from error


def _episodes(
    minutes: float, seed: int, client: GraphClient, watch: ChunkWatch, group: ProcessGroup
) -> list[Watched]:
    from salus_ros.sim.series import episode_series

    found: list[Watched] = []
    end = time.monotonic() + 60.0 * minutes
    series = episode_series(10_000, seed, "")
    for number, (instruction, episode_seed) in enumerate(series, start=1):
        if time.monotonic() > end:
            break
        client.reset_rig(instruction=instruction, seed=episode_seed, disturbance="")
        watch.chunks, watch.modes = [], []
        client.run(True)
        deadline = time.monotonic() + EPISODE_TIMEOUT
        while not client.episode_ended(number, timeout=0.2):
            fail_if_ended(group)
            if time.monotonic() > deadline:
                break  # Its plans count all the same.
        now = watch.now()
        client.run(False)
        found.append(watched_graph(watch.chunks, watch.modes, now, client.episode.success))
    return found
