"""`salus up --sim`, as its user runs it: episode after episode, until Ctrl-C."""

import signal
import subprocess
import sys

import pytest

from salus_ros.nodes.graph_client import GraphClient

PATIENCE = 90.0  # s; only a broken graph takes so long


@pytest.fixture
def client():
    with GraphClient(None) as client:
        yield client


@pytest.fixture
def up(tmp_path):
    """Episodes of the scripted expert, the first of seed 0."""
    command = [sys.executable, "-m", "salus_ros.cli.main", "up", "--sim"]
    file = tmp_path / "output"
    with file.open("w") as output:
        process = subprocess.Popen(
            [*command, "--policy", "scripted_expert"], stdout=output, stderr=subprocess.STDOUT
        )
        yield file
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def test_after_an_episode_comes_the_next(client, up):
    def succeeded(number):
        return lambda: client.episode.number == number and client.episode.success

    for number in (1, 2):
        assert client.wait_for(succeeded(number), PATIENCE), up.read_text()
        assert client.episode.seed == number - 1
