"""`salus record`'s node: watches a running graph until it is told to stop; tells outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from salus_msgs.msg import Episode
from std_msgs.msg import Header

from salus_ros.nodes import qos, topics
from salus_ros.nodes.recorder import Recorder
from salus_ros.nodes.run import StopRequest
from salus_ros.replay.bag_writer import BagWriter
from salus_ros.replay.storage import Storage

SUBSCRIBER_TIMEOUT = 3.0  # s; how long a label waits for someone who takes it
SPIN = 0.05  # s
BEGIN = "begin"
SUCCESS = "success"


def record(
    folder: Path,
    storage: Storage,
    wanted: Collection[str] | None,
    everything: bool,
    show: Callable[[Recorder], None],
    duration: float = 0.0,
) -> Recorder:
    """Record until SIGINT or SIGTERM, or for `duration` s; show is called now and then.

    Raises BagError where the bag can't be made; the recorder says what became of it.
    """
    writer = BagWriter(folder, storage)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node("salus_recorder", enable_rosout=False, start_parameter_services=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stop = StopRequest()
    ends = time.monotonic() + (duration or float("inf"))
    try:
        with Recorder(node, writer, wanted, everything) as recorder:
            while not stop.requested and not recorder.problem and time.monotonic() < ends:
                executor.spin_once(timeout_sec=SPIN)
                show(recorder)
        return recorder
    finally:
        stop.ignore_from_now()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def tell(outcome: str, instruction: str, ago: float) -> bool:
    """Publish that an episode begins, succeeds or fails so, `ago` s before now.

    False where nobody records it.
    """
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node("salus_label", enable_rosout=False, start_parameter_services=False)
    try:
        publisher = node.create_publisher(Episode, topics.EPISODE_LABEL, qos.EVENTS)
        deadline = time.monotonic() + SUBSCRIBER_TIMEOUT
        while not publisher.get_subscription_count():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        publisher.publish(_label(node, outcome, instruction, ago))
        return bool(publisher.wait_for_all_acked())
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _label(node: Node, outcome: str, instruction: str, ago: float) -> Episode:
    stamp = node.get_clock().now() - rclpy.duration.Duration(seconds=ago)
    message = Episode(header=Header(stamp=stamp.to_msg()), instruction=instruction)
    message.failure_onset = message.end = -1.0
    message.phase = Episode.PHASE_RUNNING if outcome == BEGIN else Episode.PHASE_ENDED
    message.success = outcome == SUCCESS
    message.failure_type = "" if outcome in (BEGIN, SUCCESS) else outcome
    return message
