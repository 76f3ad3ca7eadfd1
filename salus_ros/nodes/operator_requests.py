"""What people and other parties ask of the supervisor, by services and topics."""

from __future__ import annotations

from collections.abc import Callable

from salus_msgs.msg import Episode as EpisodeMessage
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger

from salus_ros.interfaces import Instant
from salus_ros.nodes import qos, topics
from salus_ros.nodes.managed_node import ManagedNode
from salus_ros.supervision.gate import SafetyGate

Answer = tuple[bool, str]


class OperatorRequests:
    """Hold, stop, emergency stop, reset, the enable switch, and where an episode begins.

    An episode begins with another instruction, another number on the rig's /sim/episode, or the
    service. An instruction that is merely repeated is none: it would loosen what a prediction has
    restricted, and let it ask for retries without end.
    """

    def __init__(self, node: ManagedNode, gate: SafetyGate, instant: Callable[[], Instant]) -> None:
        self._node = node
        self._gate = gate
        self._instant = instant
        self._instruction: str | None = None
        self._episode: int | None = None

    def listen(self) -> None:
        """Subscribe and serve until the opposite transition."""
        gate, node = self._gate, self._node
        node.subscribe(Bool, topics.ESTOP, self._on_estop_topic, qos.PLAN)
        node.subscribe(Bool, topics.ENABLE, self._on_enable, qos.HEARTBEAT)
        node.subscribe(String, topics.INSTRUCTION, self._on_instruction, qos.PLAN)
        node.subscribe(EpisodeMessage, topics.SIM_EPISODE, self._on_episode, qos.SIGNALS)
        node.serve(SetBool, topics.HOLD, self._on_hold)
        for name, request in (
            (topics.STOP, gate.request_stop),
            (topics.ESTOP, gate.request_estop),
            (topics.RESET, gate.request_reset),
            (topics.NEW_EPISODE, self._new_episode),
        ):
            node.serve(Trigger, name, self._answering(request))

    def _answering(
        self, request: Callable[[Instant], Answer]
    ) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            if self._is_active(response):
                response.success, response.message = request(self._instant())
            return response

        return answer

    def _on_hold(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._is_active(response):
            answer = self._gate.request_hold(request.data, self._instant())
            response.success, response.message = answer
        return response

    def _is_active(self, response: SetBool.Response | Trigger.Response) -> bool:
        if not self._node.active:
            response.success, response.message = False, "the supervisor is not active"
        return self._node.active

    def _on_estop_topic(self, message: Bool) -> None:
        if not self._node.active:
            return
        if message.data:
            self._gate.request_estop(self._instant(), lasts=True)
        else:
            self._gate.release_estop(self._instant())

    def _on_enable(self, message: Bool) -> None:
        if self._node.active:
            self._gate.on_enable(message.data, self._instant())

    # Episodes. What comes before the gate is active is remembered: only a change begins one.

    def _on_instruction(self, message: String) -> None:
        before, self._instruction = self._instruction, message.data
        if self._node.active and message.data != before:
            self._new_episode(self._instant())

    def _on_episode(self, message: EpisodeMessage) -> None:
        before, self._episode = self._episode, message.number
        if self._node.active and message.number != before:
            self._new_episode(self._instant())

    def _new_episode(self, now: Instant) -> Answer:
        self._gate.new_episode(now)
        return True, "a new episode begins: retries are counted anew"
