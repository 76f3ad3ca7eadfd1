"""A series of episodes in the running graph, judged as those in lock-step are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from salus_ros.bench.policy_study import Result, result_of
from salus_ros.cli.bring_up import sim_graph, wait_for_end
from salus_ros.cli.demo_statistics import ControlStatistics
from salus_ros.cli.processes import SUPERVISOR
from salus_ros.interfaces import nanoseconds
from salus_ros.resources import config_file, file_parameter

if TYPE_CHECKING:
    from salus_ros.nodes.graph_client import GraphClient

EPISODE_TIMEOUT = 25.0  # s


def run_graph(
    series: Sequence[tuple[str, int]],
    policy: dict[str, object],
    disturbance: str,
    on_episode: Callable[[Result], None],
) -> dict[str, Any]:
    """Run (instruction, seed) episodes; policy: parameters of its node over sim_panda's.

    Returns what the control loop did meanwhile. Raises UserError where the graph fails; episodes
    that ended before it have been told.
    """
    from salus_ros.cli.errors import UserError
    from salus_ros.nodes.graph_client import GraphClient

    rate = file_parameter(config_file("sim_panda.yaml"), SUPERVISOR, "rate") or 100.0
    statistics = ControlStatistics(nanoseconds(1.0 / rate))

    def client() -> GraphClient:
        return GraphClient(
            statistics.on_command,
            lambda message: statistics.on_intervention(message.reason),
            lambda s: statistics.on_plan(s.source_id, s.chunk_number, s.observation_age),
        )

    with sim_graph(client, policy) as (graph, group):
        for number, (instruction, seed) in enumerate(series, start=1):
            before = Counter(statistics.interventions)
            graph.reset_rig(instruction=instruction, seed=seed, disturbance=disturbance)
            graph.run(True)
            # The rig counts each reset.
            if not wait_for_end(graph, group, number, EPISODE_TIMEOUT):
                raise UserError(f"episode {number} did not end: {graph.last_reason()}")
            graph.run(False)
            new = dict(statistics.interventions - before)
            on_episode(result_of(graph.episode, seed, new))
    return {"control": statistics.control(), "latency_ms": statistics.latency_ms()}
