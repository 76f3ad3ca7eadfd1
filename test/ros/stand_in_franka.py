"""A stand-in for an FR3 behind franka_ros2: the same topics, actions and types, over real DDS.

Its joint_trajectory_controller follows the newest message by quintics; like the robot, it stops
with a reflex where the motion that it is sent isn't one. Run as a process that finds franka_msgs.
"""

import threading
import time

import numpy as np
import rclpy
from franka_msgs.action import Grasp, Move
from franka_msgs.msg import FrankaRobotState
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

NAMES = [f"fr3_joint{k}" for k in range(1, 8)]
HOME = np.array([0.0, -0.3, 0.0, -2.0, 0.0, 1.7, 0.8])
PERIOD = 0.01
FASTEST = 2.62  # rad/s
OBJECT = 0.03  # m between the fingers
PUSH = 0.25  # rad


def quintic(start, end, duration, time):
    """State (q, v, a) on the quintic between two states."""
    (q0, v0, a0), (q1, v1, a1) = start, end
    t, d = min(max(time, 0.0), duration), duration
    h = q1 - q0 - v0 * d - a0 * d**2 / 2
    g = (v1 - v0 - a0 * d) * d
    f = (a1 - a0) * d**2
    c3, c4, c5 = (10 * h - 4 * g + f / 2) / d**3, (7 * g - 15 * h - f) / d**4, 0
    c5 = (6 * h - 3 * g + f / 2) / d**5
    q = q0 + v0 * t + a0 * t**2 / 2 + c3 * t**3 + c4 * t**4 + c5 * t**5
    v = v0 + a0 * t + 3 * c3 * t**2 + 4 * c4 * t**3 + 5 * c5 * t**4
    a = a0 + 6 * c3 * t + 12 * c4 * t**2 + 20 * c5 * t**3
    return q, v, a


class Arm(Node):
    """Arm and robot state."""

    def __init__(self):
        super().__init__("stand_in_arm", namespace="/fr3")
        self.state = (HOME, np.zeros(7), np.zeros(7))
        self.knots, self.mode, self.errors = [], FrankaRobotState.ROBOT_MODE_MOVE, []
        self.silent, self.to_push = False, 0.0
        publish = self.create_publisher
        self.joints = publish(JointState, "franka/joint_states", 10)
        self.states = publish(FrankaRobotState, "franka_robot_state_broadcaster/robot_state", 10)
        topic = "joint_trajectory_controller/joint_trajectory"
        self.create_subscription(JointTrajectory, topic, self.on_trajectory, 10)
        for name in ("reflex", "recover", "push"):
            answer = self.answering(getattr(self, name))
            self.create_service(Trigger, f"stand_in/{name}", answer)
        self.create_service(SetBool, "stand_in/silence", self.on_silence)
        self.create_timer(PERIOD, self.tick)

    def answering(self, do):
        def answer(_, response):
            do()
            response.success = True
            return response

        return answer

    def on_silence(self, request, response):
        self.silent, response.success = request.data, True
        return response

    def seconds(self):
        return self.get_clock().now().nanoseconds * 1e-9

    def on_trajectory(self, message):
        if self.mode != FrankaRobotState.ROBOT_MODE_MOVE:
            return  # no controller is active
        order = [message.joint_names.index(name) for name in NAMES]
        start = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        now = self.seconds()
        self.knots = [(now, self.sampled(now))]
        for point in message.points:
            due = start + point.time_from_start.sec + point.time_from_start.nanosec * 1e-9
            if due > now:
                rows = (point.positions, point.velocities, point.accelerations)
                self.knots.append((due, tuple(np.array(row)[order] for row in rows)))

    def sampled(self, now):
        for (before, start), (after, end) in zip(self.knots, self.knots[1:], strict=False):
            if now < after:
                return quintic(start, end, after - before, now - before)
        if not self.knots:
            return self.state
        return self.knots[-1][1][0], np.zeros(7), np.zeros(7)

    def tick(self):
        if self.mode == FrankaRobotState.ROBOT_MODE_MOVE:
            following = self.sampled(self.seconds())
            if np.abs(following[0] - self.state[0]).max() > 4 * FASTEST * PERIOD:
                self.reflex()
            else:
                self.state = following
        elif self.to_push > 0.0:
            step = min(self.to_push, PUSH * PERIOD)
            self.to_push -= step
            self.state = (self.state[0] + np.eye(7)[0] * step, *self.state[1:])
        if not self.silent:
            self.tell()

    def tell(self):
        stamp = self.get_clock().now().to_msg()
        joints = JointState(name=NAMES)
        joints.header.stamp = stamp
        joints.position, joints.velocity = self.state[0].tolist(), self.state[1].tolist()
        joints.effort = [0.0] * 7
        self.joints.publish(joints)
        state = FrankaRobotState(robot_mode=self.mode, control_command_success_rate=1.0)
        state.header.stamp = stamp
        for error in self.errors:
            setattr(state.current_errors, error, True)
        self.states.publish(state)

    def reflex(self):
        self.mode, self.errors, self.knots = (
            FrankaRobotState.ROBOT_MODE_REFLEX,
            ["joint_reflex"],
            [],
        )
        self.state = (self.state[0], np.zeros(7), np.zeros(7))

    def recover(self):
        """The error is recovered from and the controller activated: it holds where the arm is."""
        self.mode, self.errors, self.knots = FrankaRobotState.ROBOT_MODE_MOVE, [], []

    def push(self):
        """Somebody moves the arm aside, within a second or so."""
        self.to_push = PUSH


class Hand(Node):
    """The gripper and its actions."""

    def __init__(self):
        super().__init__("stand_in_hand", namespace="/fr3")
        self.width = 0.08
        self.fingers = self.create_publisher(JointState, "franka_gripper/joint_states", 1)
        self.goals = self.create_publisher(String, "stand_in/goals", 10)
        together = ReentrantCallbackGroup()
        for name, kind in (("move", Move), ("grasp", Grasp)):
            ActionServer(
                self,
                kind,
                f"franka_gripper/{name}",
                lambda goal, name=name, kind=kind: self.go(name, kind, goal),
                callback_group=together,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            )
        self.create_timer(1 / 15, self.tell_fingers)

    def tell_fingers(self):
        message = JointState(name=["fr3_finger_joint1", "fr3_finger_joint2"])
        message.header.stamp = self.get_clock().now().to_msg()
        message.position = [self.width / 2] * 2
        self.fingers.publish(message)

    def go(self, name, kind, handle):
        goal = handle.request
        force = f" {goal.force:g}" if name == "grasp" else ""
        self.goals.publish(String(data=f"{name} {goal.width:g}{force}"))
        target = max(goal.width, OBJECT) if name == "grasp" else goal.width
        while abs(target - self.width) > 1e-6:
            if handle.is_cancel_requested:
                handle.canceled()
                return kind.Result(error="cancelled")
            step = goal.speed * 0.02
            self.width += max(-step, min(step, target - self.width))
            time.sleep(0.02)
        handle.succeed()
        return kind.Result(success=True)


def main():
    rclpy.init()
    hands = MultiThreadedExecutor(2)
    hands.add_node(Hand())
    threading.Thread(target=hands.spin, daemon=True).start()
    arm = SingleThreadedExecutor()
    arm.add_node(Arm())
    arm.spin()


if __name__ == "__main__":
    main()
