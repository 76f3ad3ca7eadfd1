"""A recorder that subscribes once it has found a topic, as `ros2 bag record` does."""

from running_graph import RunningGraph
from salus_msgs.msg import GateTrace

from salus_ros.nodes import topics


def test_it_gets_the_gates_trace_from_the_activation_on(tmp_path):
    parts = []
    with RunningGraph(tmp_path) as graph:
        graph.begin_episode()
        # rosbag2's queue.
        graph.client.node.create_subscription(GateTrace, topics.GATE_TRACE, parts.append, 10)
        graph.wait(lambda: len(parts) > 20, "the trace")
    assert parts[0].first == 0
    assert parts[0].kinds[0] == GateTrace.KIND_ACTIVATE
    due = 0
    for part in parts:
        assert (part.first, part.left_out) == (due, 0)
        due += len(part.kinds)
