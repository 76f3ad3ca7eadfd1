"""Records the graph's topics into a rosbag2 bag, as they came over the wire."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import salus_msgs.msg
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from salus_ros.nodes import qos, topics

CAMERAS = ("front", "wrist")
RECORDED: dict[str, tuple[type, QoSProfile]] = {
    topics.JOINT_STATES: (JointState, qos.SENSOR),
    topics.JOINT_COMMANDS: (JointState, qos.EVERY_COMMAND),
    topics.INSTRUCTION: (String, qos.STATE),
    topics.ACTION_CHUNK: (salus_msgs.msg.ActionChunk, qos.PLAN),
    topics.POLICY_STATE: (salus_msgs.msg.PolicyState, qos.PLAN),
    topics.SIGNALS: (salus_msgs.msg.Signals, qos.SIGNALS),
    topics.FAILURE_PREDICTION: (salus_msgs.msg.FailurePrediction, qos.SIGNALS),
    topics.SUPERVISOR_STATE: (salus_msgs.msg.SupervisorState, qos.STATE),
    topics.INTERVENTIONS: (salus_msgs.msg.Intervention, qos.EVENTS),
    topics.SIM_EPISODE: (salus_msgs.msg.Episode, qos.EVENTS),
    topics.SIM_BLOCKS: (MarkerArray, qos.SENSOR),
    **{topics.CAMERA.format(camera=camera): (Image, qos.SENSOR) for camera in CAMERAS},
}


def typestore_with_salus_msgs(share: Path) -> Typestore:
    """Jazzy's types and those of salus_msgs; share: folder share/salus_msgs of its install."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted((share / "msg").glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(), f"salus_msgs/msg/{path.stem}"))
    return store


class Recorder:
    """Writes each message of RECORDED that the node receives. A context manager.

    folder: must not exist yet; it becomes an mcap bag that `ros2 bag` reads.
    """

    def __init__(self, node: Node, folder: Path, share: Path) -> None:
        self._node = node
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._store = typestore_with_salus_msgs(share)
        self._subscriptions: list[Any] = []

    def __enter__(self) -> Recorder:
        self._writer.open()
        for topic, (kind, profile) in RECORDED.items():
            write = self._writing(topic, kind)
            subscription = self._node.create_subscription(kind, topic, write, profile, raw=True)
            self._subscriptions.append(subscription)
        return self

    def _writing(self, topic: str, kind: type) -> Callable[[bytes], None]:
        package = kind.__module__.partition(".")[0]
        name = f"{package}/msg/{kind.__name__}"
        connection = self._writer.add_connection(topic, name, typestore=self._store)

        def write(data: bytes) -> None:
            self._writer.write(connection, time.time_ns(), data)

        return write

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._writer.close()
