"""Quality of service of every topic, with the reason for each choice."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _keep_last(depth: int, **policies: object) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, **policies)


# Only the newest image or joint state is of use, and a lost one is replaced by the next: asking
# for it again would only add latency.
SENSOR = _keep_last(1, reliability=ReliabilityPolicy.BEST_EFFORT)

# A plan or a signal must not be lost, but a late joiner has no use for an old one.
PLAN = _keep_last(1, reliability=ReliabilityPolicy.RELIABLE)
SIGNALS = _keep_last(10, reliability=ReliabilityPolicy.RELIABLE)

# A tool that joins late must see the mode in force and what happened before.
STATE = _keep_last(
    1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
EVENTS = _keep_last(
    100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)

# A recorder must get every part, also where it was held up for some seconds; who joins late has no
# use for the parts before.
TRACE = _keep_last(100, reliability=ReliabilityPolicy.RELIABLE)

# What ROS's own diagnostics use.
DIAGNOSTICS = SIGNALS

# A recorder must see every command, whatever it is doing at the moment.
EVERY_COMMAND = _keep_last(1000, reliability=ReliabilityPolicy.RELIABLE)

# Six nodes beat on one topic; a short queue so that a busy reader misses none of them.
HEARTBEAT = _keep_last(20, reliability=ReliabilityPolicy.BEST_EFFORT)


def command(period_ns: int, staleness_ns: int) -> QoSProfile:
    """Joint commands: reliable, newest only.

    The deadline (two periods) tells a reader that the stream has stopped; the lifespan keeps a
    command that was delayed on its way from being executed late.
    """
    return _keep_last(
        1,
        reliability=ReliabilityPolicy.RELIABLE,
        deadline=Duration(nanoseconds=2 * period_ns),
        lifespan=Duration(nanoseconds=staleness_ns),
    )
