"""`salus up --sim`: when the rig's next episode begins."""

from types import SimpleNamespace

import pytest

from salus_ros.cli.next_episodes import NextEpisodes
from salus_ros.supervision.modes import Mode


class Client:
    """A graph whose first episode has ended; keeps what it was asked for."""

    def __init__(self, mode=Mode.HOLD, reasons=("prediction_alarm",)):
        self.episode = SimpleNamespace(number=1, seed=7, phase=1, PHASE_ENDED=1)
        self.state = SimpleNamespace(mode=int(mode), reasons=list(reasons))
        self.asked = []

    def run(self, active):
        self.asked.append(active)

    def reset_rig(self, **parameters):
        self.asked.append(parameters)
        self.episode = SimpleNamespace(
            number=self.episode.number + 1, phase=0, PHASE_ENDED=1, **parameters
        )


def test_an_episode_that_has_ended_is_followed_by_the_next_seed():
    client = Client()
    episodes = NextEpisodes(client)
    for _ in range(3):
        episodes.look()
    assert client.asked == [False, {"seed": 8}, True]
    client.episode.phase = 1
    episodes.look()
    assert client.asked[3:] == [False, {"seed": 9}, True]


def test_the_first_episode_waits_for_the_graph_and_is_the_only_one_where_so_wished():
    client = Client(Mode.INACTIVE, ())
    client.episode = SimpleNamespace(number=0, seed=0, phase=0, PHASE_ENDED=1)
    episodes = NextEpisodes(client, once=True)
    episodes.look()
    assert client.asked == []
    client.state.mode = int(Mode.HOLD)
    episodes.look()
    assert client.asked == [False, {}, True]
    client.episode.phase = 1
    episodes.look()
    assert client.asked == [False, {}, True]


@pytest.mark.parametrize(
    ("mode", "reasons"),
    [
        (Mode.STOP, ["stop_requested"]),
        (Mode.ESTOP, ["estop_requested"]),
        (Mode.HOLD, ["prediction_alarm", "hold_requested"]),
        (Mode.INACTIVE, []),
    ],
)
def test_what_a_person_asked_for_outlasts_the_episode(mode, reasons):
    client = Client(mode, reasons)
    episodes = NextEpisodes(client)
    episodes.look()
    assert client.asked == []
    client.state.mode, client.state.reasons = int(Mode.HOLD), ["resuming"]
    episodes.look()
    assert client.asked == [False, {"seed": 8}, True]


def test_a_graph_that_refuses_is_asked_once():
    client = Client()

    def refuse(active):
        client.asked.append(active)
        raise RuntimeError("no")

    client.run = refuse
    episodes = NextEpisodes(client)
    with pytest.raises(RuntimeError):
        episodes.look()
    episodes.look()
    assert client.asked == [False]
