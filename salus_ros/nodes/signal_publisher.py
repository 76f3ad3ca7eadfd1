"""The signal node: plans, policy states, joint states and commands in, 12 signals a step out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from salus_msgs.msg import ActionChunk as ActionChunkMessage
from salus_msgs.msg import Intervention
from salus_msgs.msg import PolicyState as PolicyStateMessage
from salus_msgs.msg import Signals as SignalsMessage
from sensor_msgs.msg import JointState as JointStateMessage

from salus_ros.interfaces import JointState
from salus_ros.nodes import conversions, qos, topics
from salus_ros.nodes.joint_input import subscribe_to_joints
from salus_ros.nodes.managed_node import ManagedNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.robot_parameters import LIMITS, ROBOT_PARAMETERS, load_robot_limits
from salus_ros.nodes.run import run
from salus_ros.resources import config_file
from salus_ros.signals.calibration import Calibration, load_calibration
from salus_ros.signals.config import SignalConfig
from salus_ros.signals.monitor import SignalMonitor
from salus_ros.supervision.gate_state import NEW_EPISODE

PARAMETERS = (
    *ROBOT_PARAMETERS,
    LIMITS,
    Parameter(
        "calibration",
        "",
        "Calibration (salus calibrate signals): a path, or a file in config/. Empty: actions in "
        "rad and m, running estimates for latents, and execution_mismatch is invalid.",
    ),
    Parameter(
        "joint_lag",
        0.0,
        "Time constant of the arm behind its commands where there is no calibration [s]; 0: "
        "unknown, and execution_mismatch is invalid.",
        minimum=0.0,
        maximum=2.0,
    ),
    Parameter("robot", "panda", "Name of the robot that the calibration must be of."),
    Parameter("window", 10, "Steps of history.", minimum=3, maximum=1000),
    Parameter(
        "poll_rate", 50.0, "How often due steps are looked for [Hz].", minimum=5.0, maximum=500.0
    ),
)


class SignalPublisher(ManagedNode):
    """Thin: everything is computed by SignalMonitor."""

    def __init__(self) -> None:
        super().__init__("signal_publisher", PARAMETERS)

    def configure(self) -> None:
        """Load limits and calibration."""
        self._names = tuple(self.parameter("joint_names"))
        self._gripper = self.parameter("gripper_name")
        limits = load_robot_limits(self)
        self._range = (limits.gripper.closed, limits.gripper.open) if limits.gripper else (0.0, 0.0)
        dims = len(self._names) + bool(self._gripper)
        config = SignalConfig(
            action_dims=dims,
            window=self.parameter("window"),
            joint_low=np.array(limits.arm.lower),
            joint_high=np.array(limits.arm.upper),
        )
        self._monitor = SignalMonitor(config, self._calibration(dims))

    def _calibration(self, dims: int) -> Calibration | None:
        name, robot = self.parameter("calibration"), self.parameter("robot")
        if name:
            path = Path(name) if Path(name).is_file() else config_file(name)
            calibration = load_calibration(path)
            calibration.require(robot, dims, len(self._names))
            return calibration
        lag = self.parameter("joint_lag")
        if not lag:
            return None
        return Calibration(robot, lag_seconds=np.full(len(self._names), lag))

    def activate(self) -> None:
        """Begin with an empty history."""
        self._monitor.reset()
        self._signals = self.publish_on(SignalsMessage, topics.SIGNALS, qos.SIGNALS)
        self.subscribe(ActionChunkMessage, topics.ACTION_CHUNK, self._on_chunk, qos.PLAN)
        self.subscribe(PolicyStateMessage, topics.POLICY_STATE, self._on_policy_state, qos.PLAN)
        subscribe_to_joints(self, self._names, self._gripper, self._take_joints)
        self.subscribe(JointStateMessage, topics.JOINT_COMMANDS, self._on_command, qos.PLAN)
        self.subscribe(Intervention, topics.INTERVENTIONS, self._on_intervention, qos.SIGNALS)
        self.every(1.0 / self.parameter("poll_rate"), self._publish_due)

    def _on_chunk(self, message: ActionChunkMessage) -> None:
        try:
            problem = self._monitor.on_chunk(
                conversions.action_chunk(message, self._range), self.now()
            )
        except ValueError as error:
            problem = f"chunk {message.chunk_number} is left out: {error}"
        self._report_or_recover("chunk", problem)

    def _on_policy_state(self, message: PolicyStateMessage) -> None:
        self._monitor.on_policy_state(conversions.policy_state(message))
        self._report_or_recover("calibration", self._monitor.problem)

    def _take_joints(self, joints: JointState) -> str:
        self._monitor.on_joint_state(joints)
        return ""

    def _on_command(self, message: JointStateMessage) -> None:
        command = conversions.command(message, self._names, self._gripper)
        self._monitor.on_command(command.stamp, command.positions)

    def _on_intervention(self, message: Intervention) -> None:
        if message.reason == NEW_EPISODE:
            self._monitor.new_episode()

    def _report_or_recover(self, cause: str, problem: str) -> None:
        if problem:
            self.report(cause, problem)
        else:
            self.recovered(cause)

    def _publish_due(self) -> None:
        for due in self._monitor.advance(self.now()):
            self._signals.publish(conversions.signals_message(due))


def main() -> None:
    """Entry point."""
    sys.exit(run(SignalPublisher))


if __name__ == "__main__":
    main()
