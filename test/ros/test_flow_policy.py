"""The policy node with the built-in policy: refusals at configure, silence and recovery after."""

import pickle
import sys
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS: run `make build`")
pytest.importorskip("torch", reason="the policy needs torch: run `make build`")

from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from running_graph import RunningGraph  # noqa: E402

from salus_ros.nodes import topics  # noqa: E402
from salus_ros.policy.flow.checkpoint import SHIPPED, WEIGHTS  # noqa: E402

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from flow_policies import saved  # noqa: E402

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
HOLD = 4


@pytest.fixture
def node(tmp_path):
    from salus_ros.nodes.vla_policy import VlaPolicy

    rclpy.init(
        args=["--ros-args", "-p", "policy:=flow", "-p", "device:=cpu",
              "-p", f"checkpoint:={tmp_path / 'checkpoint'}"]
    )  # fmt: skip
    made = VlaPolicy()
    yield made
    made.close()
    made.destroy_node()
    rclpy.shutdown()


def test_a_bad_checkpoint_fails_configure_in_one_line_and_a_good_one_then_works(
    node, tmp_path, capfd
):
    folder = tmp_path / "checkpoint"
    assert node.trigger_configure() == FAILURE
    folder.mkdir()
    (folder / "policy.pt").write_bytes(pickle.dumps({}))
    assert node.trigger_configure() == FAILURE
    said = [line for line in capfd.readouterr().err.splitlines() if "[ERROR]" in line]
    assert any("no policy.json" in line for line in said)
    assert any("pickle" in line for line in said)
    (folder / "policy.pt").unlink()
    saved(folder)
    assert node.trigger_configure() == SUCCESS


def test_a_robot_of_other_joints_fails_configure(node, tmp_path, capfd):
    saved(tmp_path / "checkpoint")
    names = Parameter("joint_names", value=[f"fr3_joint{i}" for i in range(1, 8)])
    node.set_parameters([names])
    assert node.trigger_configure() == FAILURE
    assert "the checkpoint moves panda_joint1" in capfd.readouterr().err


@pytest.mark.skipif(not (SHIPPED / WEIGHTS).exists(), reason="no weights are shipped")
def test_on_the_graph_it_moves_falls_silent_and_moves_again(tmp_path):
    """An instruction that it doesn't know: no plan, a report, the arm stops; then the known one."""
    from std_msgs.msg import String

    from salus_ros.nodes import qos

    policy = {"policy": "flow", "execution_horizon": 3}
    with RunningGraph(tmp_path, vla_policy=policy) as graph:
        graph.begin_episode()
        publisher = graph.client.node.create_publisher(String, topics.INSTRUCTION, qos.PLAN)
        graph.wait(lambda: publisher.get_subscription_count() >= 1, "the policy's subscription")
        publisher.publish(String(data="fold the towel"))
        graph.wait(lambda: graph.mode() >= HOLD, "HOLD")
        publisher.publish(String(data="pick up the red block"))
        graph.wait(graph.moving, "the arm to move again")
        assert graph.alive() == set(graph.group.processes)
