"""What the supervisor takes plans from: its parameter `input`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from salus_msgs.msg import ActionChunk as ActionChunkMessage
from sensor_msgs.msg import JointState as JointStateMessage
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMessage

from salus_ros.interfaces import ActionChunk
from salus_ros.message_reading import waypoints
from salus_ros.nodes import conversions, qos, topics
from salus_ros.nodes.managed_node import ManagedNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.target_stream import TargetStream
from salus_ros.supervision.trajectory_plan import chunk_from_waypoints

ACTION_CHUNK = "action_chunk"
JOINT_TRAJECTORY = "joint_trajectory"
JOINT_STATE = "joint_state"

INPUT_PARAMETERS = (
    Parameter(
        "input",
        ACTION_CHUNK,
        f"Where plans come from: action_chunk ({topics.ACTION_CHUNK}), joint_trajectory "
        f"({topics.TRAJECTORY_INPUT}), joint_state: single targets ({topics.TARGET_INPUT}).",
        choices=(ACTION_CHUNK, JOINT_TRAJECTORY, JOINT_STATE),
    ),
    Parameter("target_age", 0.1, "A single target is followed for so long [s].", 0.02, 1.0),
)

# Of chunks that are made here.
TRAJECTORY_SOURCE = "joint_trajectory"
TARGET_SOURCE = "joint_targets"

# Takes a message apart; ValueError, one line, where it can't be what it claims to be.
Reader = Callable[[Any], ActionChunk]


class PlanInput:
    """Reads plans from the one topic that is chosen.

    take: gets each chunk. refuse: gets what is wrong with a message, one line, its source and
    number.
    """

    def __init__(
        self,
        node: ManagedNode,
        limits: RobotLimits,
        take: Callable[[ActionChunk], None],
        refuse: Callable[[str, int, str], None],
    ) -> None:
        self._node = node
        self._limits = limits
        self._take, self._refuse = take, refuse
        self._count = 0
        self._taken = False
        gripper = limits.gripper
        self._range = (gripper.closed, gripper.open) if gripper else (0.0, 0.0)
        self._gripper = gripper.name if gripper else ""
        self._stream = TargetStream(limits, node.parameter("target_age"), TARGET_SOURCE)

    def listen(self) -> None:
        """Subscribe until the opposite transition."""
        kinds = {
            ACTION_CHUNK: (ActionChunkMessage, topics.ACTION_CHUNK, self._on_chunk, qos.PLAN),
            JOINT_TRAJECTORY: (
                JointTrajectoryMessage,
                topics.TRAJECTORY_INPUT,
                self._on_trajectory,
                qos.PLAN,
            ),
            JOINT_STATE: (JointStateMessage, topics.TARGET_INPUT, self._on_target, qos.SENSOR),
        }
        self._node.subscribe(*kinds[self._node.parameter("input")])

    def new_tick(self) -> None:
        """Another target may be taken."""
        self._taken = False

    def _read(self, reader: Reader, message: Any, source: str, number: int) -> None:
        if not self._node.active:
            return
        try:
            chunk = reader(message)
        except ValueError as error:
            self._refuse(source, number, str(error))
            return
        self._node.give_way()
        self._take(chunk)

    def _on_chunk(self, message: ActionChunkMessage) -> None:
        self._read(self._chunk, message, message.source_id, message.chunk_number)

    def _chunk(self, message: ActionChunkMessage) -> ActionChunk:
        return conversions.action_chunk(message, self._range)

    def _on_trajectory(self, message: JointTrajectoryMessage) -> None:
        self._count += 1
        self._read(self._trajectory, message, TRAJECTORY_SOURCE, self._count)

    def _trajectory(self, message: JointTrajectoryMessage) -> ActionChunk:
        rows = self._node.parameter("rows_max")
        points = waypoints(message, rows)
        now, gripper = self._node.now(), self._gripper
        return chunk_from_waypoints(points, self._count, now, gripper, rows, TRAJECTORY_SOURCE)

    def _on_target(self, message: JointStateMessage) -> None:
        """One a tick is enough, however fast they come: a check costs more than a tick."""
        if not self._taken:
            self._count += 1
            self._read(self._target, message, TARGET_SOURCE, self._count)
            self._taken = True  # also where a tick came in between

    def _target(self, message: JointStateMessage) -> ActionChunk:
        names = self._limits.arm.names
        unknown = set(message.name) - {*names, self._gripper}
        if unknown or len(set(message.name)) != len(message.name):
            odd = f"unknown {sorted(unknown)}" if unknown else "repeated"
            raise ValueError(f"joints of the target are {odd}: {list(message.name)}")
        return self._stream.chunk(conversions.joint_state(message, names, self._gripper))
