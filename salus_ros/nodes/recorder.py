"""Records topics into a rosbag2 bag, as they came over the wire.

Messages are taken in by the node's executor and written by a thread, every FLUSH_PERIOD; after
each write the bag is whole, so a crash costs no more than that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Any

import salus_msgs.msg
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from salus_ros.nodes import qos, topics
from salus_ros.replay.bag_writer import BagWriter
from salus_ros.replay.errors import BagError
from salus_ros.replay.offered_qos import offered_qos, qos_of_graph
from salus_ros.replay.topic import Message

FLUSH_PERIOD = 0.5  # s
DISCOVERY_PERIOD = 0.25  # s
# What waits to be written, at most; beyond it messages are left out and counted.
MOST_WAITING = 256 * 1024 * 1024
CAMERAS = tuple(topics.CAMERA.format(camera=camera) for camera in ("front", "wrist"))
# Subscribed to at once, before discovery has found who publishes them.
RECORDED: dict[str, tuple[type, QoSProfile]] = {
    topics.JOINT_STATES: (JointState, qos.SENSOR),
    topics.JOINT_COMMANDS: (JointState, qos.PLAN),
    topics.INSTRUCTION: (String, qos.STATE),
    topics.ACTION_CHUNK: (salus_msgs.msg.ActionChunk, qos.PLAN),
    topics.POLICY_STATE: (salus_msgs.msg.PolicyState, qos.PLAN),
    topics.SIGNALS: (salus_msgs.msg.Signals, qos.SIGNALS),
    topics.FAILURE_PREDICTION: (salus_msgs.msg.FailurePrediction, qos.SIGNALS),
    topics.SUPERVISOR_STATE: (salus_msgs.msg.SupervisorState, qos.STATE),
    topics.INTERVENTIONS: (salus_msgs.msg.Intervention, qos.EVENTS),
    topics.GATE_TRACE: (salus_msgs.msg.GateTrace, qos.TRACE),
    topics.SIM_EPISODE: (salus_msgs.msg.Episode, qos.EVENTS),
    topics.EPISODE_LABEL: (salus_msgs.msg.Episode, qos.EVENTS),
    topics.SIM_BLOCKS: (MarkerArray, qos.SENSOR),
    **dict.fromkeys(CAMERAS, (Image, qos.SENSOR)),
}


class Recorder:
    """Writes each message that the node receives on the topics asked for. A context manager.

    wanted: topics of any graph; None: those of this one (RECORDED). everything: all that discovery
    finds. The writer is closed with the recorder.
    """

    def __init__(
        self,
        node: Node,
        writer: BagWriter,
        wanted: Collection[str] | None = None,
        everything: bool = False,
    ) -> None:
        self._node, self._writer = node, writer
        self._wanted = frozenset(RECORDED if wanted is None else wanted)
        self._everything = everything
        self._subscriptions: dict[str, Any] = {}
        self._types: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, int, bytes]] = []
        self._waiting_bytes = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write_until_ended, name="recorder")
        self.left_out = 0
        # One line, where the bag can't be written any more.
        self.problem = ""

    def __enter__(self) -> Recorder:
        for topic in RECORDED.keys() & self._wanted:
            kind, profile = RECORDED[topic]
            self._subscribe(topic, kind, profile)
        self._timer = self._node.create_timer(DISCOVERY_PERIOD, self._discover)
        self._thread.start()
        return self

    @property
    def counts(self) -> dict[str, int]:
        """Messages written, by topic."""
        return {t: self._writer.summary.counts[n] for t, n in self._numbers.copy().items()}

    @property
    def missing(self) -> list[str]:
        """Topics that were asked for and of which nothing was written."""
        return sorted(self._wanted - self.counts.keys())

    def _discover(self) -> None:
        """Subscribe to what has appeared."""
        for topic, kinds in self._node.get_topic_names_and_types():
            if topic in self._subscriptions or topic in self._refused:
                continue
            if self._everything or topic in self._wanted:
                self._subscribe_discovered(topic, kinds)

    def _subscribe_discovered(self, topic: str, kinds: list[str]) -> None:
        publishers = self._node.get_publishers_info_by_topic(topic)
        if not publishers:
            return
        try:
            if len(kinds) > 1:
                raise ValueError(f"it has several types: {', '.join(kinds)}")
            package, _, name = kinds[0].partition("/msg/")
            kind = getattr(import_module(f"{package}.msg"), name)
        except (ValueError, ImportError, AttributeError) as error:
            self._refused.add(topic)
            self._node.get_logger().error(f"{topic} is not recorded: {error}")
            return
        self._subscribe(topic, kind, _fitting([p.qos_profile for p in publishers]))

    def _subscribe(self, topic: str, kind: type, profile: QoSProfile) -> None:
        self._types[topic] = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
        # A deep queue: a recorder must see every message, not only the newest.
        deep = QoSProfile(
            history=profile.history,
            depth=qos.EVERY_COMMAND.depth if topic not in CAMERAS else profile.depth,
            reliability=profile.reliability,
            durability=profile.durability,
        )
        self._subscriptions[topic] = self._node.create_subscription(
            kind, topic, self._taking(topic), deep, raw=True
        )

    def _taking(self, topic: str) -> Callable[[bytes], None]:
        def take(data: bytes) -> None:
            with self._lock:
                if self._waiting_bytes + len(data) > MOST_WAITING or self.problem:
                    self.left_out += 1
                    return
                self._waiting.append((topic, time.time_ns(), data))
                self._waiting_bytes += len(data)

        return take

    def _write_until_ended(self) -> None:
        while not self._ending.wait(FLUSH_PERIOD):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if self.problem or not waiting:
            return
        try:
            messages = [Message(self._number(t), when, data) for t, when, data in waiting]
            self._writer.append(messages)
        except BagError as error:
            self.problem = str(error)

    def _number(self, topic: str) -> int:
        """The bag's number of a topic, which is made known with its first message."""
        if topic not in self._numbers:
            profiles = [offered_profile(p) for p in self._publishers(topic)]
            offered = profiles[:1] or [qos_of_graph(topic)]
            self._numbers[topic] = self._writer.add_topic(topic, self._types[topic], offered)
        return self._numbers[topic]

    def _publishers(self, topic: str) -> list[QoSProfile]:
        # At the end rclpy may be shut down already.
        with suppress(Exception):
            return [p.qos_profile for p in self._node.get_publishers_info_by_topic(topic)]
        return []

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._ending.set()
        self._thread.join()
        with suppress(BagError):
            self._writer.close()


def _fitting(profiles: list[QoSProfile]) -> QoSProfile:
    """What is compatible with all publishers, and gets as much of them as can be got."""
    reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
    latched = all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(
        history=qos.EVERY_COMMAND.history,
        depth=qos.EVERY_COMMAND.depth,
        reliability=reliability,
        durability=durability,
    )


def offered_profile(profile: QoSProfile) -> dict[str, Any]:
    """A publisher's profile as the bag says it. Discovery doesn't tell the depth."""
    return offered_qos(
        reliable=profile.reliability == ReliabilityPolicy.RELIABLE,
        transient_local=profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        depth=max(1, profile.depth),
    )
