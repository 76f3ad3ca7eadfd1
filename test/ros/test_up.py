"""`salus up --sim`, as its user runs it: episode after episode, until Ctrl-C."""

import signal
import subprocess
import sys

import pytest
import yaml

from salus_ros.nodes.graph_client import GraphClient
from salus_ros.resources import config_file

PATIENCE = 90.0  # s; only a broken graph takes so long


@pytest.fixture
def client():
    with GraphClient(None) as client:
        yield client


@pytest.fixture
def up(tmp_path):
    """Episodes of one second of the scripted expert, the first of seed 5; what it says, a file."""
    content = yaml.safe_load(config_file("sim_panda.yaml").read_text())
    content["sim_rig"]["ros__parameters"] |= {"time_limit": 1.0, "seed": 5}
    config, said = tmp_path / "short.yaml", tmp_path / "output"
    config.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "salus_ros.cli.main", "up", "--sim", "--config", str(config)]
    with said.open("w") as output:
        process = subprocess.Popen(
            [*command, "--policy", "scripted_expert"], stdout=output, stderr=subprocess.STDOUT
        )
        yield said
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def test_after_an_episode_comes_the_next(client, up):
    def reached():
        return client.episode.number >= 3

    assert client.wait_for(reached, PATIENCE), up.read_text()
    assert client.episode.seed == 5 + client.episode.number - 1
