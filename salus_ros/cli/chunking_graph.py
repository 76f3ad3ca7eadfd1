"""Episodes in the running graph for so many minutes, with all plans kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from salus_ros.bench.chunk_stream import Arrival
from salus_ros.bench.chunking import Watched, first_reason
from salus_ros.cli.bring_up import sim_graph, wait_for_end

if TYPE_CHECKING:
    from salus_ros.cli.processes import ProcessGroup
    from salus_ros.nodes.chunk_watch import ChunkWatch
    from salus_ros.nodes.graph_client import GraphClient

EPISODE_TIMEOUT = 25.0  # s


def run_graph(minutes: float, seed: int, policy: dict[str, object]) -> list[Watched]:
    """Run episodes of the simulated Panda; policy: parameters of its node.

    One `Watched` for each episode. Raises UserError where the graph fails.
    """
    from salus_ros.nodes.chunk_watch import ChunkWatch
    from salus_ros.nodes.graph_client import GraphClient

    watch = ChunkWatch()

    def client() -> GraphClient:
        return GraphClient(None, watch.on_intervention, watch.on_state)

    with sim_graph(client, policy, watch.listen) as (graph, group):
        return _episodes(minutes, seed, graph, watch, group)


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
        watch.begin()
        client.run(True)
        # Where it doesn't end, its plans count all the same.
        wait_for_end(client, group, number, EPISODE_TIMEOUT)
        now = watch.now()
        client.run(False)
        found.append(_watched(watch, now, client.episode.success))
    return found


def _watched(watch: ChunkWatch, end: int, success: bool) -> Watched:
    """What arrived of an episode until its end [ns]."""
    modes = [mode for mode in watch.modes if mode[0] <= end]
    return Watched(
        arrivals=[Arrival(time, chunk) for time, chunk in watch.chunks if time <= end],
        modes=[(time, name) for time, name, _ in modes],
        reasons=[first_reason(reasons) for _, _, reasons in modes],
        end=end,
        success=success,
        interventions=dict(watch.interventions),
    )
