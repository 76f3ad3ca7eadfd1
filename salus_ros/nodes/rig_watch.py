"""What is heard of a rig within a few seconds: rates, ages, names, who publishes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from salus_msgs.msg import RobotMode
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header

from salus_ros.nodes import qos, topics
from salus_ros.nodes.conversions import stamp_of


@dataclass
class Stream:
    """Messages of one topic. arrivals [s, steady], ages [s]: arrival after the stamp."""

    arrivals: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    names: Sequence[str] = ()
    publishers: int = 0

    @property
    def rate(self) -> float:
        """Messages per second; 0: fewer than two came."""
        if len(self.arrivals) < 2:
            return 0.0
        return (len(self.arrivals) - 1) / max(self.arrivals[-1] - self.arrivals[0], 1e-9)

    @property
    def longest_gap(self) -> float:
        """Longest time between two messages [s]."""
        pairs = zip(self.arrivals, self.arrivals[1:], strict=False)
        return max((b - a for a, b in pairs), default=0.0)

    @property
    def age(self) -> float:
        """Median age [s]; 0: nothing came."""
        return sorted(self.ages)[len(self.ages) // 2] if self.ages else 0.0


@dataclass
class RigReport:
    """What was heard. commanders: who publishes /joint_commands."""

    joints: Stream = field(default_factory=Stream)
    cameras: dict[str, Stream] = field(default_factory=dict)
    heartbeats: dict[str, Stream] = field(default_factory=dict)
    robot: RobotMode | None = None
    commanders: Sequence[str] = ()
    controllers: int = 0


class RigWatch:
    """A context manager that listens; it publishes and calls nothing."""

    def __init__(self, cameras: Mapping[str, str], command_topic: str) -> None:
        """cameras: topic by name; command_topic: of the robot's controller; empty: none."""
        self.report = RigReport(cameras={name: Stream() for name in cameras})
        self._camera_topics = cameras
        self._command_topic = command_topic

    def __enter__(self) -> RigWatch:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("salus_doctor", enable_rosout=False, start_parameter_services=False)
        report, subscribe = self.report, self._node.create_subscription
        subscribe(JointState, topics.JOINT_STATES, self._on_joints, qos.SENSOR)
        subscribe(Header, topics.HEARTBEAT, self._on_heartbeat, qos.HEARTBEAT)
        subscribe(RobotMode, topics.ROBOT_MODE, self._on_mode, qos.STATE)
        for name, topic in self._camera_topics.items():
            subscribe(Image, topic, self._noting(report.cameras[name]), qos.SENSOR)
        return self

    def __exit__(self, *_: object) -> None:
        self._node.destroy_node()
        rclpy.try_shutdown()

    def listen(self, seconds: float, enough: Callable[[RigReport], bool] | None = None) -> None:
        """Listen so long, or until it is enough."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not (enough and enough(self.report)):
            rclpy.spin_once(self._node, timeout_sec=0.05)
        self._look()

    def _look(self) -> None:
        node, report = self._node, self.report
        report.joints.publishers = node.count_publishers(topics.JOINT_STATES)
        for name, topic in self._camera_topics.items():
            report.cameras[name].publishers = node.count_publishers(topic)
        infos = node.get_publishers_info_by_topic(topics.JOINT_COMMANDS)
        report.commanders = [info.node_name for info in infos]
        if self._command_topic:
            report.controllers = node.count_subscribers(self._command_topic)

    def _note(self, stream: Stream, header: Header) -> None:
        now = self._node.get_clock().now().nanoseconds
        stream.arrivals.append(time.monotonic())
        stream.ages.append((now - stamp_of(header.stamp)) * 1e-9)

    def _noting(self, stream: Stream) -> Callable[[Any], None]:
        return lambda message: self._note(stream, message.header)

    def _on_joints(self, message: JointState) -> None:
        self._note(self.report.joints, message.header)
        self.report.joints.names = list(message.name)

    def _on_heartbeat(self, message: Header) -> None:
        stream = self.report.heartbeats.setdefault(message.frame_id, Stream())
        self._note(stream, message)

    def _on_mode(self, message: RobotMode) -> None:
        self.report.robot = message
