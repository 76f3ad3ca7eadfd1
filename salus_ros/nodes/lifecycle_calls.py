"""Asks managed nodes for their state and for transitions, and waits for the answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node

ANSWER_PATIENCE = 2.0  # s for a node to say which state it is in

GOALS = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
}
NAMES = {
    Transition.TRANSITION_CONFIGURE: "configured",
    Transition.TRANSITION_ACTIVATE: "activated",
    Transition.TRANSITION_DEACTIVATE: "deactivated",
}


class TransitionError(RuntimeError):
    """A node didn't do what it was asked to; the message is one line for the user."""


class LifecycleCalls:
    """Service clients of the managed nodes. Calls block: make them off the executor's thread.

    timeout: longest wait for a node to appear or to make one transition [s]. is_silent: whether a
    node's heartbeat has stopped, after which nobody waits for its answer.
    """

    def __init__(
        self,
        node: Node,
        managed: Sequence[str],
        timeout: float,
        is_silent: Callable[[str], bool],
    ) -> None:
        self._node = node
        self._timeout = timeout
        self._is_silent = is_silent
        self._change = {n: node.create_client(ChangeState, f"/{n}/change_state") for n in managed}
        self._state = {n: node.create_client(GetState, f"/{n}/get_state") for n in managed}
        self.closing = False

    def close(self) -> None:
        """Let what waits for an answer give up with a TransitionError."""
        self.closing = True

    def reach(self, node: str, transition: int) -> None:
        """Make one transition unless the node is already where it leads, or beyond.

        Raises TransitionError.
        """
        configure = transition == Transition.TRANSITION_CONFIGURE
        current = self.current_state(node)
        if current == GOALS[transition] or (configure and current == State.PRIMARY_STATE_ACTIVE):
            return
        request = ChangeState.Request(transition=Transition(id=transition))
        # A node that loads a model is silent meanwhile.
        answer = self._call(
            self._change[node], request, node, self._timeout, may_be_silent=configure
        )
        if not answer.success:
            raise TransitionError(f"{node} can't be {NAMES[transition]}: its own log says why")
        self._node.get_logger().info(f"{node} {NAMES[transition]}")

    def current_state(self, node: str) -> int:
        """State of lifecycle_msgs. Raises TransitionError.

        Asked again where no answer comes: a request to a node that was just restarted can reach
        nobody, as long as its dead predecessor still counts as there.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                answer = self._call(self._state[node], GetState.Request(), node, ANSWER_PATIENCE)
            except TransitionError:
                if self.closing or self._is_silent(node) or time.monotonic() > deadline:
                    raise
            else:
                return int(answer.current_state.id)

    def _call(
        self, client: Any, request: Any, node: str, timeout: float, may_be_silent: bool = False
    ) -> Any:
        """Call and wait [s]; raises TransitionError where no answer comes in time."""
        deadline = time.monotonic() + timeout
        while not client.service_is_ready():
            if self.closing or time.monotonic() > deadline:
                raise TransitionError(
                    f"{node} is not there after {timeout:g} s: is its process running?"
                )
            time.sleep(0.05)
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        deadline = time.monotonic() + timeout
        while not answered.wait(0.05):
            silent = not may_be_silent and self._is_silent(node)
            if silent or self.closing or time.monotonic() > deadline:
                client.remove_pending_request(future)
                raise TransitionError(f"{node} gave no answer: it is busy, stuck or gone")
        return future.result()
