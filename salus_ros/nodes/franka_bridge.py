"""Between franka_ros2 and the graph: joint states with the hand's width, the mode, the hand.

It runs beside the robot's driver. Where the driver falls silent, so does this node: it repeats
nothing, so that the supervisor sees the true age of what is measured. (franka_bringup's own
/joint_states come from a joint_state_publisher, which repeats the last ones for good.)
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

from rclpy.serialization import deserialize_message
from salus_msgs.msg import RobotMode as RobotModeMessage
from sensor_msgs.msg import JointState as JointStateMessage

from salus_ros.franka.gripper import CONTROLS
from salus_ros.franka.joint_states import Thinned, opening_width
from salus_ros.franka.robot_mode import follows_commands, mode_text
from salus_ros.nodes import conversions, qos, topics
from salus_ros.nodes.base_node import PlainNode
from salus_ros.nodes.franka_hand import FrankaHand
from salus_ros.nodes.franka_messages import franka_type
from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.robot_modes import robot_report
from salus_ros.nodes.robot_parameters import LIMITS, ROBOT_PARAMETERS, load_robot_limits
from salus_ros.nodes.run import run

MODE_PERIOD = 0.05  # s between two messages of the mode while it doesn't change
WIDTH_AGE = 1.0  # s; the hand tells its width 15 times a second

PARAMETERS = (
    *ROBOT_PARAMETERS,
    LIMITS,
    Parameter("robot_namespace", "/fr3", "Namespace that franka_ros2 was started in."),
    Parameter(
        "joint_state_rate",
        200.0,
        "Joint states that are passed on per second, at most [Hz].",
        20.0,
        1000.0,
    ),
    Parameter(
        "watch_robot",
        True,
        "Tell the robot's mode and reflexes on /salus/robot_mode; needs franka_msgs.",
    ),
    Parameter(
        "robot_state_rate", 100.0, "How often the robot's state is looked at [Hz].", 20.0, 1000.0
    ),
    Parameter(
        "robot_state_age", 0.1, "Age of the robot's state beyond which it is lost [s].", 0.02, 5.0
    ),
    Parameter(
        "gripper_actions",
        True,
        "Send the hand where /joint_commands wants it; needs franka_msgs.",
    ),
    Parameter(
        "gripper_control",
        CONTROLS[0],
        "binary: the hand opens or closes wholly; width: it goes to the commanded width.",
        choices=CONTROLS,
    ),
    Parameter("gripper_force", 30.0, "Force of a grasp [N].", 1.0, 70.0),
    Parameter("gripper_speed", 0.1, "Speed of the hand [m/s].", 0.01, 0.2),
)


class FrankaBridge(PlainNode):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("franka_bridge", PARAMETERS)
        self._names = tuple(self.parameter("joint_names"))
        self._gripper = self.parameter("gripper_name")
        self._width: tuple[float, float] | None = None
        self._mode = _unknown("it is not watched")
        self._thinned = Thinned(self.parameter("joint_state_rate"))
        robot = self.parameter("robot_namespace").rstrip("/")
        self._joints = self.create_publisher(JointStateMessage, topics.JOINT_STATES, qos.SENSOR)
        # Raw: at 1 kHz, only those that are passed on are worth reading.
        on_joints = self.guarded(self._on_joints)
        arm = f"{robot}/franka/joint_states"
        self.create_subscription(JointStateMessage, arm, on_joints, qos.SENSOR, raw=True)
        if self._gripper:
            hand = f"{robot}/franka_gripper"
            on_fingers = self.guarded(self._on_fingers)
            states = f"{hand}/joint_states"
            self.create_subscription(JointStateMessage, states, on_fingers, qos.SENSOR)
            self._use_hand(hand)
        if self.parameter("watch_robot"):
            self._watch_robot(f"{robot}/franka_robot_state_broadcaster/robot_state")
        self.create_timer(1.0, self.guarded(self._look_for_rivals))

    def _use_hand(self, name: str) -> None:
        gripper = load_robot_limits(self).gripper
        if not self.parameter("gripper_actions") or gripper is None:
            return
        hand = FrankaHand(self, name, gripper)
        on_command = self.guarded(lambda message: self._on_command(hand, message))
        self.create_subscription(JointStateMessage, topics.JOINT_COMMANDS, on_command, qos.PLAN)

    # Joint states.

    def _on_joints(self, raw: bytes) -> None:
        if not self._thinned.take(time.monotonic_ns()):
            return
        message = deserialize_message(raw, JointStateMessage)
        try:
            state = conversions.joint_state(message, self._names, "")
        except ValueError as error:
            self.report("joints", str(error))
            return
        self.recovered("joints")
        state = replace(state, gripper=self.width)
        self._joints.publish(conversions.joint_state_message(state, self._names, self._gripper))

    @property
    def width(self) -> float | None:
        """The hand's opening width [m]; None: not known, or too old."""
        if self._width is None or time.monotonic() - self._width[1] > WIDTH_AGE:
            return None
        return self._width[0]

    def _on_fingers(self, message: JointStateMessage) -> None:
        try:
            self._width = opening_width(message.position), time.monotonic()
        except ValueError as error:
            self.report("fingers", str(error))
        else:
            self.recovered("fingers")

    def _on_command(self, hand: FrankaHand, message: JointStateMessage) -> None:
        if self._gripper not in message.name or self.width is None:
            return
        # A goal that a stop of the robot ended must not be tried again once the stop is over, while
        # the supervisor's own lasts: after this gap the hand stays until it is commanded anew.
        if robot_report(self._mode).released:
            return
        hand.command(message.position[message.name.index(self._gripper)], self.width)

    # The robot's mode.

    def _watch_robot(self, topic: str) -> None:
        self._state_type = franka_type("msg", "FrankaRobotState")
        self._state_topic = topic
        self._looked = Thinned(self.parameter("robot_state_rate"))
        self._mode = _unknown(f"no message on {topic} yet")
        self._heard = time.monotonic()
        self._modes = self.create_publisher(RobotModeMessage, topics.ROBOT_MODE, qos.STATE)
        on_state = self.guarded(self._on_robot_state)
        self.create_subscription(self._state_type, topic, on_state, qos.SENSOR, raw=True)
        self.create_timer(MODE_PERIOD, self.guarded(self._tell_mode))

    def _on_robot_state(self, raw: bytes) -> None:
        if not self._looked.take(time.monotonic_ns()):
            return
        mode = self._mode_of(deserialize_message(raw, self._state_type))
        # Only of what was understood: else the mode before it would be told for good.
        self._heard = time.monotonic()
        self._use(mode)

    def _mode_of(self, state: Any) -> RobotModeMessage:
        errors = [name for name in _fields(state.current_errors) if _is_on(state, name)]
        return RobotModeMessage(
            header=state.header,
            mode=state.robot_mode,
            errors=errors,
            ready=follows_commands(state.robot_mode, errors),
            text=mode_text(state.robot_mode, errors),
            command_success_rate=state.control_command_success_rate,
        )

    def _use(self, mode: RobotModeMessage) -> None:
        before, self._mode = self._mode, mode
        if mode.text != before.text or mode.mode != before.mode:
            self.get_logger().info(f"robot: {mode.text or 'follows commands'}")
            self._modes.publish(mode)

    def _tell_mode(self) -> None:
        age = time.monotonic() - self._heard
        if age > self.parameter("robot_state_age"):
            lost = _unknown(f"no message on {self._state_topic}: is the driver running?")
            lost.header = self._mode.header
            self._use(lost)
        self._modes.publish(self._mode)

    # Others.

    def _look_for_rivals(self) -> None:
        """Two sources of joint states would look like an arm that jumps."""
        count = self.count_publishers(topics.JOINT_STATES)
        if count > 1:
            self.report(
                "rival",
                f"{topics.JOINT_STATES} has {count} publishers: start franka_ros2 in a namespace "
                "(robot_namespace), so that its own is another topic",
            )
        else:
            self.recovered("rival")


def _unknown(text: str) -> RobotModeMessage:
    unknown = RobotModeMessage.MODE_UNKNOWN
    return RobotModeMessage(mode=unknown, command_success_rate=-1.0, text=text)


def _fields(errors: Any) -> list[str]:
    return list(errors.get_fields_and_field_types())


def _is_on(state: Any, name: str) -> bool:
    return getattr(state.current_errors, name) is True


def main() -> None:
    """Entry point."""
    sys.exit(run(FrankaBridge))


if __name__ == "__main__":
    main()
