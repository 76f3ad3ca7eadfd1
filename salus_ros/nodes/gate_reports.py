"""What the gate does, for others: topics, the journal, diagnostics."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from salus_msgs.msg import GateTrace as GateTraceMessage
from salus_msgs.msg import Intervention as InterventionMessage
from salus_msgs.msg import SupervisorState as SupervisorStateMessage

from salus_ros.diagnosis import Diagnosis
from salus_ros.interfaces import Instant
from salus_ros.nodes import conversions, qos, topics
from salus_ros.nodes.journal_parameters import journal_diagnosis
from salus_ros.nodes.managed_node import ManagedNode
from salus_ros.nodes.trace_message import trace_message
from salus_ros.supervision.gate_report import gate_diagnosis
from salus_ros.supervision.gate_state import REQUEST_REASONS, TickResult
from salus_ros.supervision.gate_trace import TracedGate, TracePart
from salus_ros.supervision.journal.feeder import Journal
from salus_ros.supervision.journal.records import intervention_record, life_record
from salus_ros.supervision.modes import Mode

# Of the trace, while nobody listens: `ros2 bag record` finds a topic only some time after it is
# there, and what it gets has no use without the activation.
PARTS_KEPT = 100
PARTS_AT_ONCE = 3  # its queue holds ten


class GateReports:
    """Until the opposite transition."""

    def __init__(self, node: ManagedNode, gate: TracedGate, journal: Journal) -> None:
        self._node = node
        self._gate = gate
        self._journal = journal
        self._reasons: Sequence[str] = ()
        self._worst: tuple[Mode, Sequence[str]] = (Mode.INACTIVE, ())
        publish_on = node.publish_on
        self._states = publish_on(SupervisorStateMessage, topics.SUPERVISOR_STATE, qos.STATE)
        self._interventions = publish_on(InterventionMessage, topics.INTERVENTIONS, qos.EVENTS)
        self._traces = publish_on(GateTraceMessage, topics.GATE_TRACE, qos.TRACE)
        self._parts: deque[tuple[TracePart, Instant]] = deque(maxlen=PARTS_KEPT)

    def note(self, result: TickResult) -> None:
        """Remember what a tick decided, for what is told later."""
        self._reasons = result.reasons
        if result.mode > self._worst[0]:
            self._worst = result.mode, result.reasons

    def life(self, event: str, before: Mode, after: Mode, now: Instant) -> None:
        """Record an activation or a deactivation."""
        self._journal.feed(life_record(event, before, after, now))

    def publish_interventions(self) -> None:
        """All that wait: on their topic and into the journal."""
        for intervention in self._gate.drain_interventions():
            self._interventions.publish(conversions.intervention_message(intervention))
            scores = self._gate.detector_scores
            self._journal.feed(intervention_record(intervention, self._reasons, scores))
            changed = intervention.mode_after != intervention.mode_before
            if changed or intervention.reason in REQUEST_REASONS:
                self._node.get_logger().info(intervention.message)

    def publish_state(self, now: Instant, realtime: bool) -> None:
        """The gate's state, and its trace."""
        self._warn_of_the_journal()
        state, head = self._gate.state(now), self._journal.head
        self._states.publish(conversions.supervisor_state_message(state, now.ros, realtime, head))
        self._parts.append((self._gate.trace.take(), now))
        if self._traces.get_subscription_count():  # a recorder's: most of the time nobody's
            self._publish_parts()

    def _publish_parts(self) -> None:
        for _ in range(min(PARTS_AT_ONCE, len(self._parts))):
            part, then = self._parts.popleft()
            self._traces.publish(trace_message(part, then.ros))

    def diagnose(self) -> list[Diagnosis]:
        """The gate's worst mode since the last call, and the journal's state."""
        self._warn_of_the_journal()
        (mode, reasons), self._worst = self._worst, (self._gate.mode, self._reasons)
        name = self._node.get_name()
        return [gate_diagnosis(name, mode, reasons), journal_diagnosis(name, self._journal)]

    def _warn_of_the_journal(self) -> None:
        for warning in self._journal.poll():
            self._node.get_logger().warning(warning)
