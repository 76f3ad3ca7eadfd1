"""The supervisor's other inputs and outputs, limits from a URDF, and what it asks people for."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS: run `make build`")

from salus_msgs.msg import FailurePrediction
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool, Trigger
from supervised_arm import HOME, JOINTS, SupervisedArm
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from salus_ros.nodes import qos, topics
from salus_ros.nodes.conversions import stamp_of

HOLD, STOP = 4, 5


def reach(time):
    """A little way of joint 1, away and back, in 4 s."""
    return HOME + np.eye(7)[0] * 0.2 * np.sin(np.pi / 2 * time) ** 2


class TrajectorySender:
    """Sends what is ahead of `reach` ten times a second."""

    def __init__(self, arm):
        self._arm = arm
        self._publisher = arm.publisher(JointTrajectory, topics.TRAJECTORY_INPUT)
        self._began = arm.client.get_clock().now().nanoseconds
        arm.client.create_timer(0.1, self.send)

    def send(self, **changes):
        message = JointTrajectory(joint_names=JOINTS)
        message.header.stamp = self._arm.stamp()
        began = (stamp_of(message.header.stamp) - self._began) * 1e-9
        for k in range(8):
            point = JointTrajectoryPoint(positions=reach(began + 0.1 * k).tolist())
            point.time_from_start.nanosec = k * 100_000_000
            message.points.append(point)
        for name, value in changes.items():
            setattr(message, name, value)
        self._publisher.publish(message)


def moving(arm):
    return abs(arm.positions[0] - HOME[0]) > 0.05


def test_trajectories_in_and_trajectories_out():
    """The controller gets points with accelerations in good time; JointState goes on beside it."""
    sent = []
    with SupervisedArm(input="joint_trajectory", output="joint_trajectory") as arm:
        arm.listen(JointTrajectory, topics.TRAJECTORY_COMMANDS, sent.append, qos.EVERY_COMMAND)
        arm.bring_up()
        TrajectorySender(arm)
        arm.wait(lambda: moving(arm), "the arm to follow the trajectories")
        arm.wait(lambda: len(sent) > 50, "trajectories")
        assert arm.mode() < HOLD
    newest, before = sent[-1], sent[-2]
    assert newest.joint_names == JOINTS
    assert [p.time_from_start.nanosec for p in newest.points] == [10_000_000, 20_000_000]
    assert newest.points[0].positions == before.points[1].positions
    assert newest.points[0].accelerations == before.points[1].accelerations
    assert any(any(p.accelerations) for message in sent for p in message.points)
    stamps = np.diff([stamp_of(m.header.stamp) for m in sent])
    assert (stamps[1:] >= 10_000_000).all()


BAD_TRAJECTORIES = {
    "chunk_names": {"joint_names": [f"other{i}" for i in range(7)]},
    "chunk_malformed": {"points": []},
    "chunk_not_finite": {"points": [JointTrajectoryPoint(positions=[float("nan")] * 7)]},
    "chunk_position": {"points": [JointTrajectoryPoint(positions=[9.0] * 7)]},
}


def test_bad_trajectories_stop_the_arm_and_are_told():
    with SupervisedArm(input="joint_trajectory") as arm:
        arm.bring_up()
        sender = TrajectorySender(arm)
        arm.wait(lambda: moving(arm), "the arm to follow the trajectories")
        for reason, changes in BAD_TRAJECTORIES.items():
            sender.send(**changes)
            arm.wait(lambda r=reason: r in arm.reasons(), reason)
        arm.wait(lambda: arm.mode() == STOP, "STOP")
        arm.wait(lambda: arm.states[-1].at_rest, "rest")


def test_single_targets_are_followed_and_their_end_is_a_hold():
    with SupervisedArm(input="joint_state") as arm:
        arm.bring_up()
        targets = arm.publisher(JointState, topics.TARGET_INPUT, qos.SENSOR)
        began = arm.client.get_clock().now().nanoseconds

        def send():
            time = (arm.client.get_clock().now().nanoseconds - began) * 1e-9
            targets.publish(arm.joint_state(reach(time), velocity=[]))

        timer = arm.client.create_timer(0.02, send)
        arm.wait(lambda: moving(arm), "the arm to follow the targets")
        targets.publish(arm.joint_state(HOME, name=["a"] * 8))
        arm.wait(lambda: "chunk_malformed" in arm.reasons(), "a refusal")
        arm.wait(lambda: arm.mode() < HOLD, "the arm to go on")
        timer.cancel()
        arm.wait(lambda: "plan_ran_out" in arm.states[-1].reasons, "HOLD")


def test_bare_positions_only_at_the_controllers_rate(capfd):
    with SupervisedArm(output="float64_multi_array", controller_rate=1000.0) as arm:
        assert not arm.configure()
        error = capfd.readouterr().err
        assert "staircase" in error
        assert "rate" in error
    sent = []
    with SupervisedArm(output="float64_multi_array", controller_rate=100.0) as arm:
        arm.listen(Float64MultiArray, topics.POSITION_COMMANDS, sent.append, 10)
        arm.bring_up()
        arm.wait(lambda: len(sent) > 3, "positions")
    np.testing.assert_allclose(sent[-1].data, HOME, atol=1e-6)


def urdf(limit):
    joints = "".join(f'<joint name="{name}" type="revolute">{limit}</joint>' for name in JOINTS)
    return f"<robot name='arm'>{joints}</robot>"


GOOD = '<limit lower="-2.5" upper="2.5" velocity="1.0" effort="9"/>'


@pytest.mark.parametrize(
    ("description", "problem"),
    [
        (None, "no URDF on /robot_description"),
        ("<robot", "not XML"),
        (urdf(""), "has no <limit>"),
        (urdf('<limit lower="x" upper="1" velocity="1"/>'), "lower='x'"),
    ],
)
def test_a_urdf_without_limits_is_an_error_of_one_line(description, problem, capfd):
    with SupervisedArm(limits_from_urdf=True, urdf_timeout=1.0, workspace="") as arm:
        publisher = arm.publisher(String, topics.ROBOT_DESCRIPTION, qos.STATE)
        if description is not None:
            publisher.publish(String(data=description))
        assert not arm.configure()
    lines = [line for line in capfd.readouterr().err.splitlines() if "can't configure" in line]
    assert len(lines) == 1
    assert problem in lines[0]


def test_the_tighter_of_file_and_urdf_wins_and_an_empty_workspace_is_warned_of_once(capfd):
    with SupervisedArm(limits_from_urdf=True, workspace="") as arm:
        publisher = arm.publisher(String, topics.ROBOT_DESCRIPTION, qos.STATE)
        publisher.publish(String(data=urdf(GOOD)))
        assert arm.configure()
        limits = arm.supervisor._gate.limits.arm
        assert limits.velocity == (1.0,) * 7
        assert limits.upper[0] == 2.5
        assert limits.upper[3] == -0.0698
        arm.supervisor.trigger_cleanup()
        assert arm.configure()
    assert capfd.readouterr().err.count("workspace is not guarded") == 1


def failing(probability):
    table = np.zeros((3, 4))
    table[1, 0] = probability
    return FailurePrediction(
        valid=True,
        horizons=[0.2, 0.5, 1.0],
        failure_types=["drop", "miss", "collision", "timeout"],
        probabilities=table.ravel().tolist(),
    )


def test_requests_are_published_and_counted_anew_in_each_episode():
    """At most two retries, then a human; a new instruction or the service begins to count anew."""
    with SupervisedArm(retry_gap=0.05) as arm:
        arm.bring_up()
        publisher = arm.publisher(FailurePrediction, topics.FAILURE_PREDICTION, qos.SIGNALS)
        instruction = arm.publisher(String, topics.INSTRUCTION, qos.STATE)
        asked = []

        def look():
            asked[:] = [i.reason for i in arm.interventions if i.reason.endswith("_requested")]
            return asked

        episode = ["retry_requested", "retry_requested", "human_requested"]
        arm.wait(lambda: publisher.get_subscription_count() > 0, "the supervisor")
        arm.wait(lambda: instruction.get_subscription_count() > 0, "the supervisor")
        publisher.publish(failing(0.8))
        arm.wait(lambda: len(look()) == 3, "three requests")
        assert asked == episode
        instruction.publish(String(data="pick up the red block"))
        arm.wait(lambda: "failure_near" not in arm.states[-1].reasons, "the new episode")
        publisher.publish(failing(0.8))
        arm.wait(lambda: len(look()) == 6, "three more")
        # The same words again are no new episode: the restriction stays.
        instruction.publish(String(data="pick up the red block"))
        assert arm.call(SetBool, topics.HOLD, SetBool.Request(data=True)).success
        arm.wait(lambda: "hold_requested" in arm.states[-1].reasons, "HOLD")
        assert "failure_near" in arm.states[-1].reasons
        assert arm.call(Trigger, topics.NEW_EPISODE).success
        publisher.publish(failing(0.8))
        arm.wait(lambda: len(look()) == 9, "three of the last episode")
        assert asked == episode * 3


def test_a_new_episode_reaches_signals_and_predictor(tmp_path):
    """Else the alarm of the last one, which the predictor remembers, would hold the arm again."""
    from running_graph import RunningGraph
    from salus_msgs.msg import Signals

    from salus_ros.signals.layout import MAGNITUDE, VOLATILITY, has

    seen = []
    with RunningGraph(tmp_path) as graph:
        graph.client.node.create_subscription(Signals, topics.SIGNALS, seen.append, qos.SIGNALS)
        graph.begin_episode()
        graph.wait(lambda: seen and has(seen[-1].valid, VOLATILITY), "signals with a history")
        before = len(seen)
        answer = graph.client._answer(Trigger, topics.NEW_EPISODE, Trigger.Request(), 5.0)
        assert answer.success

        def begun():
            new = [message.valid for message in seen[before:]]
            return any(has(valid, MAGNITUDE) and not has(valid, VOLATILITY) for valid in new)

        graph.wait(begun, "signals without a history")
        assert "new_episode" in {act.reason for act in graph.interventions}
