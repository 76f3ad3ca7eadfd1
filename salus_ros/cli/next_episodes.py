"""Episode after episode on the simulated rig, for `salus up --sim`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salus_ros.supervision.modes import Mode

if TYPE_CHECKING:
    from salus_ros.nodes.graph_client import GraphClient

LARGEST_SEED = 2**31 - 1


class NextEpisodes:
    """Begins the rig's first episode once the graph is active, and the next seed's after each end.

    The first one waits for the graph, whose start would otherwise take from its time limit.
    What is predicted tells nothing of an episode that is over, yet it goes on restricting the arm,
    as it must: only a new episode ends that.

    The graph is taken down meanwhile, for the arm is put home at once. That would also take back
    a stop, an emergency stop or a hold that a person asked for. So while one is in force, or the
    supervisor isn't active, nothing is begun.
    """

    def __init__(self, client: GraphClient, once: bool = False) -> None:
        """once: no other episode than the first."""
        self._client = client
        self._once = once
        self._over = -1  # number of the last one that is over; 0 is that before the first

    def look(self) -> None:
        """Begin one where it is time to. Raises GraphError, once for each episode."""
        episode, state = self._client.episode, self._client.state
        first = episode.number == 0
        over = first or (episode.phase == episode.PHASE_ENDED and not self._once)
        if episode.number <= self._over or not over or not _free(state.mode, state.reasons):
            return
        self._over = episode.number
        self._client.run(False)
        self._client.reset_rig(**({} if first else {"seed": min(episode.seed + 1, LARGEST_SEED)}))
        self._client.run(True)


def _free(mode: int, reasons: list[str]) -> bool:
    """Whether nobody but the graph itself keeps the arm from moving."""
    return Mode.INACTIVE < mode < Mode.STOP and "hold_requested" not in reasons
