"""The supervisor node alone, in this process, with an arm that follows it and a client."""

import time
from contextlib import ExitStack

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from salus_msgs.msg import Intervention, SupervisorState
from sensor_msgs.msg import JointState

from salus_ros.nodes import qos, topics
from salus_ros.nodes.conversions import time_message

PATIENCE = 20.0  # s; only a broken node takes so long
JOINTS = [f"panda_joint{i}" for i in range(1, 8)]
HOME = np.array([0.0, -0.3, 0.0, -2.0, 0.0, 1.7, 0.8])
ALONE = {
    "require_manager": False,
    "require_prediction": False,
    "realtime_priority": 0,
    "discovery_time": 0.0,
    "resume_delay": 0.1,
    # Both nodes share one thread with the test: late joint states are no fault here.
    "joint_state_age_hold": 0.5,
    "joint_state_age_stop": 2.0,
}


class SupervisedArm:
    """A context manager; parameters: of the supervisor."""

    def __init__(self, **parameters):
        self.parameters = {**ALONE, **parameters}
        self.positions = HOME
        self.states, self.interventions = [], []
        self._stack = ExitStack()

    def __enter__(self):
        from salus_ros.nodes.safety_supervisor import SafetySupervisor

        given = [f"{name}:={_text(value)}" for name, value in self.parameters.items()]
        rclpy.init(args=["--ros-args", *(part for text in given for part in ("-p", text))])
        self._stack.callback(rclpy.shutdown)
        self.executor = SingleThreadedExecutor()
        self._stack.callback(self.executor.shutdown)
        self.supervisor = self._add(SafetySupervisor())
        self._stack.callback(self.supervisor.close)
        self.client = self._add(Node("client"))
        self._joints = self.client.create_publisher(JointState, topics.JOINT_STATES, qos.SENSOR)
        self.client.create_timer(0.01, self._measure)
        self.listen(JointState, topics.JOINT_COMMANDS, self._follow, 1)
        self.listen(SupervisorState, topics.SUPERVISOR_STATE, self.states.append, qos.STATE)
        self.listen(Intervention, topics.INTERVENTIONS, self.interventions.append, qos.EVENTS)
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def _add(self, node):
        self.executor.add_node(node)
        self._stack.callback(node.destroy_node)
        return node

    def listen(self, kind, topic, callback, profile):
        return self.client.create_subscription(kind, topic, callback, profile)

    def publisher(self, kind, topic, profile=qos.PLAN):
        return self.client.create_publisher(kind, topic, profile)

    def stamp(self):
        return time_message(self.client.get_clock().now().nanoseconds)

    def joint_state(self, positions, **changes):
        message = JointState(name=[*JOINTS, "panda_gripper"])
        message.header.stamp = self.stamp()
        message.position = [*positions, 0.04]
        message.velocity = [0.0] * 8
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    def _measure(self):
        self._joints.publish(self.joint_state(self.positions))

    def _follow(self, message):
        self.positions = np.array(message.position[:7])

    def wait(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            seen = [i.reason for i in self.interventions]
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self.text()}, {seen}"
            self.executor.spin_once(timeout_sec=0.05)

    def configure(self):
        """Whether it could be configured."""
        return self.supervisor.trigger_configure() == TransitionCallbackReturn.SUCCESS

    def bring_up(self):
        assert self.configure()
        self.wait(lambda: self.supervisor._last_joints is not None, "joint states")
        for _ in range(5):
            self.executor.spin_once(timeout_sec=0.05)
        assert self.supervisor.trigger_activate() == TransitionCallbackReturn.SUCCESS

    def mode(self):
        return self.states[-1].mode if self.states else 0

    def reasons(self):
        return {i.reason for i in self.interventions}

    def text(self):
        return (self.mode(), list(self.states[-1].reasons)) if self.states else "no state"

    def call(self, kind, name, request=None):
        client = self.client.create_client(kind, name)
        assert client.wait_for_service(PATIENCE)
        future = client.call_async(request or kind.Request())
        self.wait(future.done, name)
        return future.result()


def _text(value):
    return str(value).lower() if isinstance(value, bool) else repr(value).strip("'") or "''"
