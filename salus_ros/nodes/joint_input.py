"""How every node takes in joint states: converted, and what is wrong with them said once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sensor_msgs.msg import JointState as JointStateMessage

from salus_ros.interfaces import JointState
from salus_ros.nodes import conversions
from salus_ros.nodes.base_node import NodeBasics


def joint_callback(
    node: NodeBasics,
    joint_names: Sequence[str],
    gripper_name: str,
    take: Callable[[JointState], str],
) -> Callable[[JointStateMessage], None]:
    """Subscription callback that hands joint states to `take`.

    take returns what is wrong with a joint state in one line, or "". A message that can't be
    converted is reported and not handed on.
    """

    def on_joints(message: JointStateMessage) -> None:
        try:
            problem = take(conversions.joint_state(message, joint_names, gripper_name))
        except ValueError as error:
            problem = str(error)
        if problem:
            node.report("joints", problem)
        else:
            node.recovered("joints")

    return on_joints
