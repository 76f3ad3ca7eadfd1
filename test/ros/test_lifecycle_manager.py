"""The manager under many requests: it answers each, and its heartbeat goes on meanwhile."""

import itertools
import time

from running_graph import RunningGraph
from std_msgs.msg import Header

from salus_ros.nodes import qos, topics

ROUNDS = 20
SILENCE = 1.0  # s; half of what counts as lost; bringing the nodes up the first time takes longer


def test_takes_the_graph_up_and_down_many_times(tmp_path):
    beats = []

    def on_beat(message):
        if message.frame_id == "lifecycle_manager":
            beats.append(time.monotonic())

    with RunningGraph(tmp_path) as graph:
        graph.client.node.create_subscription(Header, topics.HEARTBEAT, on_beat, qos.HEARTBEAT)
        graph.wait(lambda: beats, "the manager")
        graph.begin_episode()
        for _ in range(ROUNDS):
            graph.client.run(False)
            assert graph.lifecycle_state("safety_supervisor") == "inactive"
            graph.client.run(True)
            assert graph.lifecycle_state("vla_policy") == "active"
    assert max(later - earlier for earlier, later in itertools.pairwise(beats)) < SILENCE
