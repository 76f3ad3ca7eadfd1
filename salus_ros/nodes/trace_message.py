"""The gate's trace as a message."""

from __future__ import annotations

from array import array

from salus_msgs.msg import GateTrace as GateTraceMessage
from std_msgs.msg import Header

from salus_ros.nodes.conversions import time_message
from salus_ros.supervision.gate_trace import WITH_TEXT, TracePart


def trace_message(part: TracePart, stamp: int) -> GateTraceMessage:
    """Events of the gate as a message published at `stamp` [ns]."""
    events = part.events
    message = GateTraceMessage(header=Header(stamp=time_message(stamp)))
    message.first = part.first
    message.left_out = part.left_out
    message.kinds = array("B", [event.kind for event in events])
    message.ros_times = array("q", [event.now.ros for event in events])
    message.steady_times = array("q", [event.now.steady for event in events])
    message.numbers = array("q", [event.number for event in events])
    message.texts = [event.text for event in events if event.kind in WITH_TEXT]
    return message
