"""How every node takes in joint states: converted, and what is wrong with them said once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sensor_msgs.msg import JointState as JointStateMessage

from salus_ros.interfaces import JointState
from salus_ros.nodes import qos, topics
from salus_ros.nodes.joint_form import JointReader
from salus_ros.nodes.managed_node import ManagedNode


def subscribe_to_joints(
    node: ManagedNode,
    joint_names: Sequence[str],
    gripper_name: str,
    take: Callable[[JointState], str],
) -> None:
    """Hand joint states to `take` until the opposite transition.

    take returns what is wrong with a joint state in one line, or "". A message that can't be
    converted is reported and not handed on.
    """
    reader = JointReader(joint_names, gripper_name)

    def on_joints(message: bytes) -> None:
        try:
            problem = take(reader.read(message))
        except ValueError as error:
            problem = str(error)
        if problem:
            node.report("joints", problem)
        else:
            node.recovered("joints")

    node.subscribe(JointStateMessage, topics.JOINT_STATES, on_joints, qos.SENSOR, raw=True)
