"""Bad input to the running graph: said in one line, and survived."""

import pytest
from recorded_limits import check_inside_limits
from running_graph import RunningGraph

HOLD = 4


def chunk_message(graph, **changes):
    from salus_msgs.msg import ActionChunk

    from salus_ros.nodes.conversions import time_message

    now = graph.client.node.get_clock().now().nanoseconds
    joints = [f"panda_joint{i}" for i in range(1, 8)]
    message = ActionChunk(
        source_id="stranger", chunk_number=1, joint_names=joints, gripper_name="panda_gripper",
        gripper_unit=1, time_step=0.033, actions=[0.0] * 80, execution_horizon=10,
    )  # fmt: skip
    message.header.stamp = message.start_time = time_message(now)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.fixture(scope="module")
def hostile():
    """Chunks that the supervisor must not follow, by the reason that it gives."""
    return {
        "chunk_malformed": {"actions": [0.0] * 79},
        "chunk_not_finite": {"actions": [float("nan")] * 80},
        "chunk_names": {"joint_names": [f"other_joint{i}" for i in range(7)]},
        "chunk_position": {"actions": [9.0] * 80},
        "chunk_time_step": {"time_step": -0.1},
    }


def test_hostile_chunks_are_dropped_and_journalled(tmp_path, hostile):
    """Each is an intervention of its reason; the arm stays inside its limits and then holds."""
    from salus_msgs.msg import ActionChunk

    from salus_ros.nodes import qos, topics

    with RunningGraph(tmp_path) as graph:
        graph.begin_episode()
        publisher = graph.client.node.create_publisher(ActionChunk, topics.ACTION_CHUNK, qos.PLAN)
        graph.wait(lambda: publisher.get_subscription_count() >= 2, "the graph's subscriptions")
        for reason, changes in hostile.items():
            publisher.publish(chunk_message(graph, **changes))
            graph.wait(lambda r=reason: r in {i.reason for i in graph.interventions}, reason)
        graph.wait(lambda: graph.mode() >= HOLD, "HOLD")
        graph.wait(lambda: graph.states[-1].at_rest, "rest")
        assert graph.alive() == set(graph.group.processes)
        check_inside_limits(graph.commands)


def test_operators_stop_and_reset_the_arm(tmp_path):
    from std_srvs.srv import SetBool, Trigger

    from salus_ros.nodes import topics

    with RunningGraph(tmp_path) as graph:
        graph.begin_episode()
        call = graph.client._answer
        assert call(SetBool, topics.HOLD, SetBool.Request(data=True), 5.0).success
        graph.wait(lambda: "hold_requested" in graph.reasons(), "HOLD")
        graph.wait(lambda: graph.states[-1].at_rest, "rest")
        assert call(SetBool, topics.HOLD, SetBool.Request(data=False), 5.0).success
        graph.wait(graph.moving, "the arm to go on by itself")
        assert call(Trigger, topics.ESTOP, Trigger.Request(), 5.0).success
        graph.wait(lambda: graph.mode() == 6, "ESTOP")
        graph.wait(lambda: graph.states[-1].at_rest, "rest")
        # The command rests; the arm itself may still swing for a moment, and is waited for.
        graph.wait(lambda: call(Trigger, topics.RESET, Trigger.Request(), 5.0).success, "the reset")
        graph.wait(graph.moving, "the arm to move again after the reset")
        check_inside_limits(graph.commands)


def test_a_second_supervisor_is_refused(tmp_path):
    """It can't be activated while another publishes commands."""
    import subprocess
    import sys

    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    with RunningGraph(tmp_path) as graph:
        graph.begin_episode()
        command = [sys.executable, "-m", "salus_ros.nodes.safety_supervisor", "--ros-args"]
        command += ["-r", "__node:=second_supervisor"]
        second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:

            def change(transition):
                request = ChangeState.Request(transition=Transition(id=transition))
                name = "/second_supervisor/change_state"
                return graph.client._answer(ChangeState, name, request, 20.0).success

            assert change(Transition.TRANSITION_CONFIGURE)
            assert not change(Transition.TRANSITION_ACTIVATE)
            assert "stop_requested" not in graph.reasons()
            check_inside_limits(graph.commands)
        finally:
            second.terminate()
            _, errors = second.communicate(timeout=20)
        assert "has another publisher, /safety_supervisor: end it first" in errors
        assert second.returncode == 0
