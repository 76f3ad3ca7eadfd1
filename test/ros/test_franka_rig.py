"""Supervisor and bridge in front of a stand-in for an FR3 behind franka_ros2, over real DDS."""

import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS: run `make build`")

import rclpy
import stand_in
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from salus_msgs.msg import RobotMode, SupervisorState
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from salus_ros.cli.graph import parameter_file
from salus_ros.cli.processes import NodeProcess
from salus_ros.nodes import qos, topics
from salus_ros.nodes.conversions import time_message

PATIENCE = 30.0  # s; only a broken rig takes so long
JOINTS = [f"fr3_joint{k}" for k in range(1, 8)]
HOLD, STOP = SupervisorState.MODE_HOLD, SupervisorState.MODE_STOP
# Ages are long: everything shares two cores with other tests.
# No predictor and no manager here; plans come from the test; the stand-in has no URDF.
LENIENT = {"robot_state_age": 1.0}
ALONE = {
    "input": "joint_trajectory",
    "limits_from_urdf": False,
    "require_prediction": False,
    "require_manager": False,
    "realtime_priority": 0,
    "discovery_time": 0.0,
    "joint_state_age_hold": 0.5,
    "joint_state_age_stop": 1.0,
    "robot_age": 1.0,
    "enable_age": 1.0,
}


class FrankaRig:
    """A context manager: the stand-in, the bridge and the supervisor, each in its own process."""

    def __init__(self, folder):
        self.folder = folder
        self.joints, self.commands, self.states, self.modes, self.goals = [], [], [], [], []
        self.width, self.enabled, self.sending = 0.08, True, False
        self.base = None
        self._stack = ExitStack()

    def __enter__(self):
        found = stand_in.environment()
        config = parameter_file("fr3")
        nodes = {
            "stand_in": [stand_in.HERE / "stand_in_franka.py"],
            "franka_bridge": NodeProcess("franka_bridge", config, LENIENT).command()[1:],
            "safety_supervisor": NodeProcess("safety_supervisor", config, ALONE).command()[1:],
        }
        for name, arguments in nodes.items():
            log = self._stack.enter_context((self.folder / f"{name}.log").open("wb"))
            process = stand_in.python(*map(str, arguments), log=log, found=found)
            self._stack.callback(_end, process)
        rclpy.init()
        self._stack.callback(rclpy.shutdown)
        self.executor = SingleThreadedExecutor()
        self._stack.callback(self.executor.shutdown)
        self.client = Node("client")
        self.executor.add_node(self.client)
        self._stack.callback(self.client.destroy_node)
        self._connect()
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def _connect(self):
        node = self.client
        for kind, topic, store, profile in (
            (JointState, topics.JOINT_STATES, self.joints, qos.SENSOR),
            (JointState, topics.JOINT_COMMANDS, self.commands, 1),
            (SupervisorState, topics.SUPERVISOR_STATE, self.states, qos.STATE),
            (RobotMode, topics.ROBOT_MODE, self.modes, qos.STATE),
            (String, "/fr3/stand_in/goals", self.goals, 10),
        ):
            node.create_subscription(kind, topic, store.append, profile)
        self._plans = node.create_publisher(JointTrajectory, topics.TRAJECTORY_INPUT, qos.PLAN)
        self._enable = node.create_publisher(Bool, topics.ENABLE, qos.PLAN)
        node.create_timer(0.1, self._send_plan)
        node.create_timer(0.05, lambda: self._enable.publish(Bool(data=self.enabled)))

    def _send_plan(self):
        """What is ahead of a slow swing of joint 1 about `base`."""
        if not self.sending:
            return
        now = self.client.get_clock().now().nanoseconds
        message = JointTrajectory(joint_names=[*JOINTS, "fr3_gripper"])
        message.header.stamp = time_message(now)
        for k in range(16):
            ahead = (now - self.began) * 1e-9 + k / 30
            swing = np.eye(7)[0] * 0.1 * np.sin(ahead * np.pi / 4) ** 2
            point = JointTrajectoryPoint(positions=[*(self.base + swing), self.width])
            point.time_from_start.nanosec = round(k * 1e9 / 30)
            message.points.append(point)
        self._plans.publish(message)

    def _changed(self, transition):
        request = Transition(id=transition)
        return self.call(ChangeState, "/safety_supervisor/change_state", transition=request).success

    def plan_from_here(self):
        self.base = self.position()
        self.began = self.client.get_clock().now().nanoseconds
        self.sending = True

    def position(self):
        return np.array(self.joints[-1].position[:7])

    def mode(self):
        return self.states[-1].mode if self.states else 0

    def reasons(self):
        return list(self.states[-1].reasons) if self.states else []

    def ready(self):
        return bool(self.modes) and self.modes[-1].ready

    def wait(self, condition, what, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self._told()}"
            self.executor.spin_once(timeout_sec=0.05)

    def _told(self):
        logs = {path.name: path.read_text()[-400:] for path in self.folder.glob("*.log")}
        return f"mode {self.mode()}, {self.reasons()}, {logs}"

    def call(self, kind, name, **fields):
        client = self.client.create_client(kind, name)
        self.wait(client.service_is_ready, name)
        future = client.call_async(kind.Request(**fields))
        self.wait(future.done, name)
        return future.result()

    def trigger(self, name):
        return self.call(Trigger, f"/fr3/stand_in/{name}")

    def bring_up(self):
        self.wait(lambda: self.joints and self.ready(), "a robot that is ready")
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            self.wait(lambda t=transition: self._changed(t), "the supervisor's transition")
        self.plan_from_here()
        self.wait(lambda: self.mode() not in (0, HOLD), "the arm to follow its plan")


def _end(process):
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def rig(tmp_path):
    with FrankaRig(tmp_path) as running:
        running.bring_up()
        yield running


def test_a_reflex_stops_and_after_recovery_nothing_jumps(rig):
    begin = rig.position()
    rig.wait(lambda: abs(rig.position()[0] - begin[0]) > 0.05, "the arm to move")
    assert rig.joints[-1].name == [*JOINTS, "fr3_gripper"]
    assert rig.joints[-1].position[7] == pytest.approx(0.08)

    rig.trigger("reflex")
    rig.wait(lambda: rig.mode() == STOP, "STOP")
    rig.wait(lambda: "robot_not_ready" in rig.reasons(), "its reason")
    assert rig.modes[-1].errors == ["joint_reflex"]
    stopped = rig.position()
    rig.trigger("push")
    rig.wait(lambda: rig.position()[0] - stopped[0] > 0.24, "the arm to be pushed aside")
    rig.wait(
        lambda: abs(rig.commands[-1].position[0] - rig.position()[0]) < 0.002,
        "the command to follow the arm",
    )
    refused = rig.call(Trigger, topics.RESET)
    assert not refused.success
    assert "joint_reflex" in refused.message

    pushed = rig.position()
    rig.trigger("recover")
    rig.wait(rig.ready, "the robot to be ready")
    count = len(rig.joints)
    rig.wait(lambda: len(rig.joints) > count + 100, "joint states")
    assert np.abs(rig.position() - pushed).max() < 0.005
    assert rig.mode() == STOP
    assert rig.ready()

    # The old plan leads elsewhere: a new one from here.
    rig.plan_from_here()
    rig.wait(lambda: rig.call(Trigger, topics.RESET).success, "the reset")
    rig.wait(lambda: rig.mode() not in (HOLD, STOP), "the arm to go on")
    assert rig.ready(), "the motion was a reflex"


def test_the_hand_grasps_and_opens_as_commanded_and_not_by_itself(rig):
    rig.wait(lambda: len(rig.commands) > 50, "commands")
    assert rig.goals == []
    rig.width = 0.0
    rig.wait(lambda: rig.goals, "a grasp")
    assert rig.goals[0].data == "grasp 0 30"
    rig.wait(lambda: rig.joints[-1].position[7] < 0.031, "the object between the fingers")
    rig.enabled = False
    rig.wait(lambda: rig.reasons() == ["enable_lost"], "HOLD")
    rig.width = 0.08
    count = len(rig.commands)
    rig.wait(lambda: len(rig.commands) > count + 50, "commands of the held arm")
    assert len(rig.goals) == 1
    rig.enabled = True
    rig.wait(lambda: len(rig.goals) > 1, "the hand to open")
    assert [goal.data for goal in rig.goals] == ["grasp 0 30", "move 0.08"]


def test_a_driver_that_falls_silent_is_not_repeated(rig):
    """franka_bringup's own joint_state_publisher would go on with the last joint states."""
    rig.call(SetBool, "/fr3/stand_in/silence", data=True)
    rig.wait(lambda: rig.mode() == STOP, "STOP")
    rig.wait(lambda: "joint_state_lost" in rig.reasons(), "joint_state_lost")
    rig.wait(lambda: not rig.ready(), "the robot to be lost")
    assert rig.modes[-1].mode == RobotMode.MODE_UNKNOWN
    assert "is the driver running?" in rig.modes[-1].text


def doctor(*arguments):
    """Exit code and findings by check of `salus doctor`."""
    command = [sys.executable, "-m", "salus_ros.cli.main", "doctor", *arguments, "--json", "-"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout, result.stderr
    found = json.loads(result.stdout)["findings"]
    return result.returncode, {finding["check"]: finding for finding in found}


def test_the_doctor_sees_the_rig(rig):
    rig.sending = False
    _, found = doctor("--rig", "--config", "fr3", "--seconds", "3")
    for check in ("joint names", "robot", "commands", "controller", "clocks between machines"):
        assert found[check]["level"] == "ok", found[check]
    assert found["nodes"]["level"] == "warning"
    assert "lifecycle_manager" in found["nodes"]["detail"]
    assert "joint states" in found
    assert doctor("--alive", "franka_bridge,safety_supervisor")[0] == 0
    code, found = doctor("--alive", "franka_bridge,vla_policy", "--seconds", "1")
    assert code == 1
    assert found["alive"]["detail"] == "not heard: vla_policy"


def test_top_shows_the_rig_from_its_topics_alone(rig, tmp_path):
    picture = tmp_path / "top.svg"
    command = [sys.executable, "-m", "salus_ros.cli.main", "top", "--seconds", "4"]
    command += ["--svg", str(picture), "--json", "-"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    rig.wait(lambda: process.poll() is not None, "salus top to end", 90.0)
    output, errors = process.communicate()
    shown = json.loads(output)
    assert shown["mode"] in ("NOMINAL", "LIMITED", "HOLD"), errors
    assert shown["robot"] == "follows commands"
    assert shown["nodes"]["safety_supervisor"] in ("active", "up")
    assert shown["nodes"]["vla_policy"] == "silent"
    assert shown["streams"][topics.JOINT_COMMANDS]["rate_hz"] > 20
    assert shown["streams"][topics.ACTION_CHUNK]["rate_hz"] == 0
    assert shown["interventions"]
    assert "safety_supervisor" in errors
    assert "last&#160;interventions" in picture.read_text()


@pytest.mark.skipif(find_spec("franka_msgs") is not None, reason="franka_msgs is here")
def test_without_franka_msgs_one_line_says_what_to_do():
    command = NodeProcess("franka_bridge", parameter_file("fr3"), {}).command()
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: franka_msgs is missing: source the workspace")


def test_without_hand_and_mode_the_bridge_needs_no_franka_msgs(tmp_path):
    parameters = {"watch_robot": False, "gripper_actions": False}
    command = NodeProcess("franka_bridge", parameter_file("fr3"), parameters).command()
    log = tmp_path / "bridge.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    rclpy.init()
    node = Node("client")
    try:
        deadline = time.monotonic() + PATIENCE
        while not node.count_publishers(topics.JOINT_STATES):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            rclpy.spin_once(node, timeout_sec=0.1)
    finally:
        node.destroy_node()
        rclpy.shutdown()
        _end(process)
    assert process.returncode == 0
