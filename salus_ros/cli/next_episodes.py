"""Episode after episode on the simulated rig, for `salus up --sim`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salus_ros.supervision.modes import Mode

if TYPE_CHECKING:
    from salus_ros.nodes.graph_client import GraphClient

LARGEST_SEED = 2**31 - 1


class NextEpisodes:
    """Begins the rig's next episode, with the next seed, once the last one has ended.

    What is predicted tells nothing of an episode that is over, yet it goes on restricting the arm,
    as it must: only a new episode ends that.

    The graph is taken down meanwhile, for the arm is put home at once. That would also take back
    a stop, an emergency stop or a hold that a person asked for. So while one is in force, or the
    supervisor isn't active, nothing is begun.
    """

    def __init__(self, client: GraphClient) -> None:
        self._client = client
        self._ended = 0

    def look(self) -> None:
        """Begin one where it is time to. Raises GraphError, once for each episode."""
        episode, state = self._client.episode, self._client.state
        over = episode.number > self._ended and episode.phase == episode.PHASE_ENDED
        if not over or not _free(state.mode, state.reasons):
            return
        self._ended = episode.number
        self._client.run(False)
        self._client.reset_rig(seed=min(episode.seed + 1, LARGEST_SEED))
        self._client.run(True)


def _free(mode: int, reasons: list[str]) -> bool:
    """Whether nobody but the graph itself keeps the arm from moving."""
    return Mode.INACTIVE < mode < Mode.STOP and "hold_requested" not in reasons
