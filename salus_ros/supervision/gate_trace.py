"""What the gate was told and when, so that its decisions can be worked out again from a recording.

Telling the gate costs one append more; what the events say is put into words when they are taken,
outside the tick.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from salus_ros.interfaces import ActionChunk, Instant, JointState
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.detector_guard import Detectors
from salus_ros.supervision.gate import SafetyGate
from salus_ros.supervision.gate_state import TickResult
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.robot_guard import RobotReport

# Events that wait to be taken, at most: some twenty seconds of them.
WAITING_MAX = 10_000


class EventKind(IntEnum):
    """As in GateTrace.msg, where number and text of each are told."""

    ACTIVATE = 0
    DEACTIVATE = 1
    SHUTDOWN = 2
    TICK = 3
    JOINTS = 4
    CHUNK = 5
    SLICE = 6
    MALFORMED = 7
    HEARTBEAT = 8
    PREDICTION = 9
    ENABLE = 10
    ROBOT = 11
    EPISODE = 12
    HOLD = 13
    STOP = 14
    ESTOP = 15
    RELEASE = 16
    RESET = 17
    CHANGE = 18
    ERROR = 19
    WHOLE = 20


WITH_TEXT = frozenset(
    {
        EventKind.ACTIVATE,
        EventKind.CHUNK,
        EventKind.MALFORMED,
        EventKind.HEARTBEAT,
        EventKind.PREDICTION,
        EventKind.ROBOT,
        EventKind.CHANGE,
        EventKind.ERROR,
        EventKind.WHOLE,
    }
)


CHUNKS = (EventKind.CHUNK, EventKind.WHOLE)
JOINT_STATES = (EventKind.ACTIVATE, EventKind.JOINTS)


class GateEvent(NamedTuple):
    """One call of the gate; number and content (a text, or what becomes JSON) by kind."""

    kind: EventKind
    now: Instant
    number: int = 0
    content: Any = None

    @property
    def text(self) -> str:
        """The content in words."""
        content = self.content
        return content or "" if content is None or isinstance(content, str) else json.dumps(content)


class TracePart(NamedTuple):
    """Events that were taken together; first: number of the first since the activation."""

    first: int
    events: list[GateEvent]
    left_out: int = 0


class GateTrace:
    """Gathers events until they are taken; from one thread."""

    def __init__(self) -> None:
        self._waiting: list[GateEvent] = []
        self._first = 0
        self._left_out = 0

    def add(self, kind: EventKind, now: Instant, number: int = 0, content: Any = None) -> None:
        """One more event; content: a text, or what becomes JSON when it is taken."""
        if len(self._waiting) >= WAITING_MAX:
            self._left_out += 1
            return
        self._waiting.append(GateEvent(kind, now, number, content))

    def begin(self) -> None:
        """An activation begins: count anew, forget what nobody took."""
        self._waiting.clear()
        self._first = self._left_out = 0

    def add_slice(self, now: Instant) -> None:
        """One slice; those of one call of the node are one event."""
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last.kind is EventKind.SLICE and last.now is now:
            self._waiting[-1] = GateEvent(EventKind.SLICE, now, last.number + 1)
            return
        self.add(EventKind.SLICE, now, 1)

    def take(self) -> TracePart:
        """All events since the last call."""
        part = TracePart(self._first, self._waiting, self._left_out)
        self._first += len(self._waiting) + self._left_out
        self._waiting, self._left_out = [], 0
        return part


class TracedGate(SafetyGate):
    """A gate that notes what it is told; it decides as any other."""

    def __init__(
        self,
        config: GateConfig,
        limits: RobotLimits,
        detectors: Detectors | None = None,
        detector_name: str = "",
    ) -> None:
        """detector_name: the calibration's file, for who reads the trace."""
        super().__init__(config, limits, detectors)
        self.trace = GateTrace()
        self._detector_name = detector_name
        self._ticking = False

    def activate(self, joints: JointState, now: Instant, robot: RobotReport | None = None) -> None:
        """See SafetyGate."""
        super().activate(joints, now, robot)
        self.trace.begin()
        setup = {
            "config": asdict(self.config),
            "limits": asdict(self.limits),
            "detectors": self._detector_name,
            "robot": None if robot is None else asdict(robot),
        }
        self.trace.add(EventKind.ACTIVATE, now, joints.stamp, setup)

    def begin_shutdown(self, now: Instant) -> None:
        """See SafetyGate."""
        self.trace.add(EventKind.SHUTDOWN, now)
        super().begin_shutdown(now)

    def deactivate(self) -> None:
        """See SafetyGate."""
        if self.active:
            self.trace.add(EventKind.DEACTIVATE, self._ticks.ticked)
        super().deactivate()

    def on_joint_state(self, joints: JointState, now: Instant) -> str:
        """See SafetyGate."""
        self.trace.add(EventKind.JOINTS, now, joints.stamp)
        return super().on_joint_state(joints, now)

    def on_heartbeat(self, name: str, now: Instant) -> None:
        """See SafetyGate."""
        self.trace.add(EventKind.HEARTBEAT, now, 0, name)
        super().on_heartbeat(name, now)

    def on_prediction(
        self,
        probabilities: ArrayLike,
        types: Sequence[str],
        horizons: Sequence[float],
        alarm: bool,
        valid: bool,
        now: Instant,
    ) -> str:
        """See SafetyGate."""
        table = np.array(probabilities).tolist()
        told = [table, list(types), list(map(float, horizons)), bool(alarm), bool(valid)]
        self.trace.add(EventKind.PREDICTION, now, 0, told)
        return super().on_prediction(probabilities, types, horizons, alarm, valid, now)

    def on_enable(self, pressed: bool, now: Instant) -> None:
        """See SafetyGate."""
        self.trace.add(EventKind.ENABLE, now, int(pressed))
        super().on_enable(pressed, now)

    def on_robot(self, report: RobotReport, now: Instant) -> None:
        """See SafetyGate."""
        self.trace.add(EventKind.ROBOT, now, 0, asdict(report))
        super().on_robot(report, now)

    def new_episode(self, now: Instant) -> None:
        """See SafetyGate."""
        self.trace.add(EventKind.EPISODE, now)
        super().new_episode(now)

    def on_chunk(self, chunk: ActionChunk, now: Instant, *, in_slices: bool = False) -> bool:
        """See SafetyGate."""
        kind = EventKind.CHUNK if in_slices else EventKind.WHOLE
        self.trace.add(kind, now, chunk.number, chunk.source_id)
        return super().on_chunk(chunk, now, in_slices=in_slices)

    def check_slice(self, now: Instant) -> bool:
        """See SafetyGate."""
        self.trace.add_slice(now)
        return super().check_slice(now)

    def on_malformed_chunk(self, source_id: str, number: int, problem: str, now: Instant) -> None:
        """See SafetyGate."""
        self.trace.add(EventKind.MALFORMED, now, number, [source_id, problem])
        super().on_malformed_chunk(source_id, number, problem, now)

    def reconfigure(
        self, changes: Mapping[str, Any], now: Instant, *, apply: bool = True
    ) -> tuple[bool, str]:
        """See SafetyGate."""
        if apply:
            self.trace.add(EventKind.CHANGE, now, 0, dict(changes))
        return super().reconfigure(changes, now, apply=apply)

    def request_hold(self, hold: bool, now: Instant) -> tuple[bool, str]:
        """See SafetyGate."""
        self.trace.add(EventKind.HOLD, now, int(hold))
        return super().request_hold(hold, now)

    def request_stop(self, now: Instant) -> tuple[bool, str]:
        """See SafetyGate."""
        self.trace.add(EventKind.STOP, now)
        return super().request_stop(now)

    def request_estop(self, now: Instant, *, lasts: bool = False) -> tuple[bool, str]:
        """See SafetyGate."""
        self.trace.add(EventKind.ESTOP, now, int(lasts))
        return super().request_estop(now, lasts=lasts)

    def release_estop(self, now: Instant) -> tuple[bool, str]:
        """See SafetyGate."""
        self.trace.add(EventKind.RELEASE, now)
        return super().release_estop(now)

    def internal_error(self, message: str, now: Instant) -> None:
        """See SafetyGate."""
        if not self._ticking:  # else it comes of the tick, and will again
            self.trace.add(EventKind.ERROR, now, 0, message)
        super().internal_error(message, now)

    def request_reset(self, now: Instant) -> tuple[bool, str]:
        """See SafetyGate."""
        self.trace.add(EventKind.RESET, now)
        return super().request_reset(now)

    def tick(self, now: Instant) -> TickResult:
        """See SafetyGate."""
        self.trace.add(EventKind.TICK, now)
        self._ticking = True
        try:
            return super().tick(now)
        finally:
            self._ticking = False
