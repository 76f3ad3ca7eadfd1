"""Publishes what a node says about itself."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from salus_ros.diagnosis import Diagnosis, Memory
from salus_ros.nodes import qos, topics

PERIOD = 1.0  # s


class Diagnostics:
    """Each second, in a timer of its own, and in every lifecycle state."""

    def __init__(self, node: Any, diagnose: Callable[[], Sequence[Diagnosis]]) -> None:
        self._node = node
        self._diagnose = diagnose
        self._memories: defaultdict[str, Memory] = defaultdict(Memory)
        self._publisher = node.create_publisher(
            DiagnosticArray, topics.DIAGNOSTICS, qos.DIAGNOSTICS
        )
        node.create_timer(PERIOD, node.guarded(self._publish))

    def _publish(self) -> None:
        array = DiagnosticArray(status=[self._status(one) for one in self._diagnose()])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _status(self, diagnosis: Diagnosis) -> DiagnosticStatus:
        shown = self._memories[diagnosis.name].add(diagnosis, time.monotonic())
        values = [KeyValue(key=key, value=str(value)) for key, value in shown.values.items()]
        return DiagnosticStatus(
            level=bytes([shown.level]),
            name=shown.name,
            message=shown.message,
            hardware_id="salus",
            values=values,
        )
