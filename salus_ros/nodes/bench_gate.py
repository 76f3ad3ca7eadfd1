"""The nodes of `salus bench gate`: the supervisor with a watch, and a bare timer beside it.

Both stamp each command just before it is handed to the middleware, on one clock: what is judged is
when a node sends, not how promptly a busy reader gets to look. At that moment the tick's own work
is over: from there on rclpy publishes. The bare node's publishing includes serializing its message,
which is part of the supervisor's own work.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState as JointStateMessage

from salus_ros.bench.gate_profile import Profile
from salus_ros.bench.gate_record import Recording, Stamps
from salus_ros.interfaces import ActionChunk, nanoseconds
from salus_ros.nodes import conversions, qos, realtime, topics
from salus_ros.nodes.base_node import NodeBasics
from salus_ros.nodes.robot_parameters import JOINT_NAMES
from salus_ros.nodes.run import run
from salus_ros.nodes.safety_supervisor import LOST_COMMAND, SafetySupervisor
from salus_ros.supervision.modes import Mode

BARE_COMMANDS = "/bench/joint_commands"
GRIPPER = "panda_gripper"


class StampedPublisher:
    """A publisher that notes when it was called.

    begun, ended: this thread's processor time [ns] before and after the last call.
    """

    def __init__(self, publisher: Publisher, stamps: Stamps) -> None:
        self._publisher = publisher
        self._stamps = stamps
        self.begun = self.ended = 0

    def publish(self, message: Any) -> None:
        """As the publisher's own."""
        self._stamps.add(time.monotonic_ns())
        self.begun = time.thread_time_ns()
        self._publisher.publish(message)
        self.ended = time.thread_time_ns()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)


class TimedSupervisor(SafetySupervisor):
    """The real supervisor; ticks and chunks are timed around it, in normal work alone."""

    def __init__(self, path: Path, profile: Profile | None) -> None:
        self._path = path
        self._profile = profile
        self._recording = Recording([])
        self._published, self._cpu, self._wall = Stamps(), Stamps(), Stamps()
        self._own, self._publishing, self._ahead = Stamps(), Stamps(), Stamps()
        self._following = Stamps()
        self._group = "chunk"  # what of a chunk's check is being done
        self._arrived: dict[int, int] = {}  # chunk number: ticks until then
        self._counted = 0
        self._since: int | None = None
        super().__init__()

    def publish_on(self, kind: type, topic: str, profile: QoSProfile) -> Publisher:
        """Stamp the commands."""
        publisher = super().publish_on(kind, topic, profile)
        if topic != topics.JOINT_COMMANDS:
            return publisher
        self._stamped = StampedPublisher(publisher, self._published)
        return self._stamped

    def activate(self) -> None:
        """A span of normal work begins."""
        super().activate()
        self._recording.realtime = self._realtime
        self._arrived.clear()
        self._since = time.monotonic_ns()

    def deactivate(self) -> None:
        """It ends; the ticks of the last stop are made elsewhere than in the timer."""
        self._end_span()
        super().deactivate()

    def _end_span(self) -> None:
        if self._since is not None:
            self._recording.spans.append((self._since, time.monotonic_ns()))
            self._since = None

    def _tick(self) -> None:
        if self._since is None:
            super()._tick()
            return
        begin, cpu = time.monotonic_ns(), time.thread_time_ns()
        super()._tick()
        self._cpu.add(time.thread_time_ns() - cpu)
        self._own.add(self._stamped.begun - cpu)
        self._publishing.add(self._stamped.ended - self._stamped.begun)
        self._wall.add(time.monotonic_ns() - begin)
        following = self._gate.mode < Mode.HOLD
        self._following.add(following)
        self._counted += 1
        if self._profile is not None:
            self._profile.flush("tick")
        if not following:
            self._arrived.clear()  # a HOLD is in between
        elif self._arrived:
            self._look_for_new_chunk()

    def _look_for_new_chunk(self) -> None:
        number = self._gate.plan_id[1]
        arrived = self._arrived.pop(number, None)
        if arrived is not None:
            self._recording.chunk_ticks.append(self._counted - arrived)
            self._arrived = {n: ticks for n, ticks in self._arrived.items() if n > number}

    def _take_chunk(self, chunk: ActionChunk) -> None:
        if self._since is not None:
            self._recording.chunks += 1
            # One that comes during HOLD acts when the arm may move again, at its earliest.
            if self._gate.mode < Mode.HOLD:
                self._arrived[chunk.number] = self._counted
        self._group = "chunk"
        super()._take_chunk(chunk)
        if self._profile is not None:
            self._profile.flush("chunk")

    def give_way(self) -> None:
        """In a chunk's callback: what it did so far is none of the tick's."""
        if self._profile is not None:
            self._profile.flush("chunk")
        super().give_way()

    def _prepare(self) -> None:
        if self._profile is not None:
            self._profile.flush(self._group)
        cpu = time.thread_time_ns()
        super()._prepare()
        if self._since is not None:
            self._ahead.add(time.thread_time_ns() - cpu)
        if self._profile is not None:
            self._profile.flush("work ahead")

    def _check_slices(self) -> None:
        self._group = "slices"
        super()._check_slices()
        if self._profile is not None:
            self._profile.flush("slices")

    def _chores(self) -> None:
        super()._chores()
        if self._profile is not None:
            self._profile.flush("chores")

    def close(self) -> None:
        """End in order, then keep what was noted."""
        self._end_span()
        super().close()
        recording = self._recording
        recording.published = self._published.to_list()
        recording.cpu, recording.wall = self._cpu.to_list(), self._wall.to_list()
        recording.own, recording.publish = self._own.to_list(), self._publishing.to_list()
        recording.ahead = self._ahead.to_list()
        recording.following = self._following.to_list()
        recording.profile = self._profile.times if self._profile else {}
        recording.save(self._path)


class BareTimer(NodeBasics, Node):
    """Nothing but a timer of the same kind, and a message of the same kind made beforehand.

    To be run by rclpy's own executor, as anyone would write it.
    """

    def __init__(self, path: Path, rate: float, priority: int) -> None:
        super().__init__("bench_bare_timer", start_parameter_services=False, enable_rosout=False)
        self._reported: dict[str, str] = {}
        self._path = path
        self._published = Stamps()
        self._realtime = False
        period = nanoseconds(1.0 / rate)
        self._publisher = self.create_publisher(
            JointStateMessage, BARE_COMMANDS, qos.command(period, nanoseconds(LOST_COMMAND))
        )
        self._message = JointStateMessage(name=[*JOINT_NAMES, GRIPPER])
        self._message.position = self._message.velocity = [0.0] * len(self._message.name)
        if priority:
            realtime.lock_memory()
        realtime.quiet_garbage_collector()
        self.create_timer(1.0 / rate, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._realtime = bool(priority) and not realtime.use_realtime(priority)

    def _tick(self) -> None:
        now = time.monotonic_ns()
        self._message.header.stamp = conversions.time_message(now)
        self._published.add(time.monotonic_ns())
        self._publisher.publish(self._message)

    def close(self) -> None:
        """Keep what was noted."""
        Recording(self._published.to_list(), realtime=self._realtime).save(self._path)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="A node of `salus bench gate`.")
    parser.add_argument("node", choices=("supervisor", "bare"))
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--priority", type=int, default=0)
    options, _ = parser.parse_known_args()
    if options.node == "bare":
        node = partial(BareTimer, options.record, options.rate, options.priority)
        sys.exit(run(node, make_executor=SingleThreadedExecutor))
    if not options.profile:
        sys.exit(run(lambda: TimedSupervisor(options.record, None)))
    with Profile() as profile:
        sys.exit(run(lambda: TimedSupervisor(options.record, profile)))


if __name__ == "__main__":
    main()
