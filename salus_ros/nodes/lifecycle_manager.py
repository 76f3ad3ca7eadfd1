"""Brings the managed nodes up in order, watches their heartbeats, takes them down."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from salus_ros.nodes import qos, topics
from salus_ros.nodes.base_node import PlainNode
from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.run import run

SUPERVISOR = "safety_supervisor"
POLICY = "vla_policy"
# The supervisor first, so that nothing moves before it gates; the policy last.
BRING_UP_ORDER = [SUPERVISOR, "failure_predictor", "signal_publisher", POLICY]
# Without these two the arm has nobody to follow or nobody to guard it.
VITAL = {SUPERVISOR, POLICY}

ANSWER_PATIENCE = 2.0  # s for a node to say which state it is in
ACTIVATION_PATIENCE = 5.0  # s
ACTIVATION_RETRY = 0.5  # s

PARAMETERS = (
    Parameter(
        "managed_nodes",
        BRING_UP_ORDER,
        "Lifecycle nodes in the order in which they are configured and activated.",
    ),
    Parameter("autostart", True, "Bring all nodes up at the start."),
    Parameter("exit_on_failure", False, "End the process where bringing them up fails."),
    Parameter(
        "restore_lost_nodes",
        False,
        "Configure and activate a lost signal_publisher or failure_predictor when it is back; "
        "starting its process again is the launcher's part.",
    ),
    Parameter(
        "heartbeat_timeout",
        2.0,
        "Silence after which a node counts as lost [s]; ten beats, so that load does not flap it.",
        minimum=0.5,
        maximum=60.0,
    ),
    Parameter(
        "transition_timeout",
        120.0,
        "Longest wait for a node to appear or to make one transition [s].",
        minimum=1.0,
        maximum=3600.0,
    ),
)

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


class LifecycleManager(PlainNode):
    """See the module. Its callbacks that wait for other nodes run beside the others."""

    def __init__(self) -> None:
        super().__init__("lifecycle_manager", PARAMETERS)
        self._order: list[str] = list(self.parameter("managed_nodes"))
        self._seen: dict[str, float] = {}
        self._lost: set[str] = set()
        self._running: set[str] = set()
        self._closing = False
        # One job (bring up, take down, react to a loss) at a time: what waits shares a group.
        waiting, answers = MutuallyExclusiveCallbackGroup(), ReentrantCallbackGroup()
        self._change = {
            n: self._client(ChangeState, n, "change_state", answers) for n in self._order
        }
        self._state = {n: self._client(GetState, n, "get_state", answers) for n in self._order}
        self.create_subscription(
            Header, topics.HEARTBEAT, self._on_heartbeat, qos.HEARTBEAT, callback_group=answers
        )
        self.create_service(SetBool, topics.RUN, self._on_run, callback_group=waiting)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, topics.DIAGNOSTICS, qos.DIAGNOSTICS
        )
        self.create_timer(0.1, self.guarded(self._watch), callback_group=waiting)
        self.create_timer(1.0, self.guarded(self._publish_diagnostics), callback_group=answers)
        if self.parameter("autostart"):
            self._start_timer = self.create_timer(0.0, self._autostart, callback_group=waiting)

    def _client(self, kind: type, node: str, service: str, group: Any) -> Any:
        return self.create_client(kind, f"/{node}/{service}", callback_group=group)

    # Jobs.

    def bring_up(self) -> None:
        """Configure all nodes in order, then activate all; undone where one fails."""
        try:
            for node in self._order:
                self._reach(node, Transition.TRANSITION_CONFIGURE)
            for node in self._order:
                self._activate(node)
        except TransitionError:
            self.take_down(self._order)
            raise

    def _activate(self, node: str) -> None:
        """Try for a while: the first measurements may not have reached the node yet."""
        deadline = time.monotonic() + ACTIVATION_PATIENCE
        while True:
            try:
                self._reach(node, Transition.TRANSITION_ACTIVATE)
                break
            except TransitionError:
                if self._closing or time.monotonic() > deadline:
                    raise
            time.sleep(ACTIVATION_RETRY)
        self._running.add(node)

    def take_down(self, nodes: Iterable[str]) -> None:
        """Deactivate in reverse order, so that the supervisor comes last; goes on after errors."""
        wanted = set(nodes)
        for node in reversed(self._order):
            self._running.discard(node)
            if node in wanted and node not in self._lost:
                self._deactivate_if_active(node)

    def _deactivate_if_active(self, node: str) -> None:
        try:
            if self._current_state(node) == State.PRIMARY_STATE_ACTIVE:
                self._reach(node, Transition.TRANSITION_DEACTIVATE)
        except TransitionError as error:
            self.get_logger().error(str(error))

    def _reach(self, node: str, transition: int) -> None:
        """Make one transition unless the node is already where it leads, or beyond."""
        configure = transition == Transition.TRANSITION_CONFIGURE
        current = self._current_state(node)
        if current == GOALS[transition] or (configure and current == State.PRIMARY_STATE_ACTIVE):
            return
        request = ChangeState.Request(transition=Transition(id=transition))
        # A node that loads a model is silent meanwhile.
        if not self._call(self._change[node], request, node, may_be_silent=configure).success:
            raise TransitionError(f"{node} can't be {NAMES[transition]}: its own log says why")
        self.get_logger().info(f"{node} {NAMES[transition]}")

    def _current_state(self, node: str) -> int:
        """Asked again where no answer comes: a request to a node that was just restarted can reach
        nobody, as long as its dead predecessor still counts as there.
        """
        deadline = time.monotonic() + self.parameter("transition_timeout")
        while True:
            try:
                answer = self._call(self._state[node], GetState.Request(), node, ANSWER_PATIENCE)
            except TransitionError:
                if self._closing or self._is_silent(node) or time.monotonic() > deadline:
                    raise
            else:
                return int(answer.current_state.id)

    def _call(
        self,
        client: Any,
        request: Any,
        node: str,
        timeout: float | None = None,
        may_be_silent: bool = False,
    ) -> Any:
        """Call and wait [s]; raises TransitionError where no answer comes in time."""
        timeout = self.parameter("transition_timeout") if timeout is None else timeout
        if not client.wait_for_service(timeout_sec=timeout):
            raise TransitionError(
                f"{node} is not there after {timeout:g} s: is its process running?"
            )
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        deadline = time.monotonic() + timeout
        while not answered.wait(0.05):
            silent = not may_be_silent and self._is_silent(node)
            if silent or self._closing or time.monotonic() > deadline:
                client.remove_pending_request(future)
                raise TransitionError(f"{node} gave no answer: it is busy, stuck or gone")
        return future.result()

    # Requests.

    def _autostart(self) -> None:
        self._start_timer.cancel()
        success, message = self._do(True)
        if not success and self.parameter("exit_on_failure"):
            self.get_logger().fatal(message)
            self.exit_code = 1

    def _on_run(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success, response.message = self._do(request.data)
        return response

    def _do(self, up: bool) -> tuple[bool, str]:
        try:
            if up:
                self.bring_up()
                return True, "all nodes are active"
            self.take_down(self._order)
            return True, "all nodes are inactive"
        except TransitionError as error:
            self.get_logger().error(str(error))
            return False, str(error)

    def close(self) -> None:
        """Let a job that waits for an answer give up."""
        self._closing = True

    # Watching.

    def _on_heartbeat(self, message: Header) -> None:
        self._seen[message.frame_id] = time.monotonic()

    def _is_silent(self, node: str) -> bool:
        seen = self._seen.get(node)
        return seen is not None and time.monotonic() - seen > self.parameter("heartbeat_timeout")

    def _watch(self) -> None:
        for node in self._order:
            if node in self._lost and not self._is_silent(node):
                self._lost.discard(node)
                self.get_logger().warning(f"{node} is back")
                self._restore(node)
            elif node in self._running and self._is_silent(node):
                self._lost.add(node)
                self._react_to_loss(node)

    def _react_to_loss(self, node: str) -> None:
        """Vital node: deactivate the rest, but leave the supervisor holding. Else: only report."""
        timeout = self.parameter("heartbeat_timeout")
        self.get_logger().error(f"{node} is lost: no heartbeat for {timeout:g} s")
        self._running.discard(node)
        if node in VITAL:
            self.take_down(n for n in self._order if n != SUPERVISOR)

    def _restore(self, node: str) -> None:
        if node in VITAL or not self.parameter("restore_lost_nodes") or not self._running:
            return
        try:
            self._reach(node, Transition.TRANSITION_CONFIGURE)
            self._activate(node)
        except TransitionError as error:
            self.get_logger().error(str(error))

    def _publish_diagnostics(self) -> None:
        statuses = [self._diagnostic(node) for node in self._order]
        array = DiagnosticArray(status=statuses)
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _diagnostic(self, node: str) -> DiagnosticStatus:
        if node in self._lost:
            level, message = DiagnosticStatus.ERROR, "lost"
        elif node in self._running:
            level, message = DiagnosticStatus.OK, "active"
        else:
            level, message = DiagnosticStatus.WARN, "not active"
        return DiagnosticStatus(level=level, name=node, message=message, hardware_id="salus")


class PatientExecutor(MultiThreadedExecutor):
    """rclpy's own destroys its guard conditions while its threads still use them."""

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Wait for the threads, then shut down."""
        self._executor.shutdown(wait=True)
        return bool(super().shutdown(timeout_sec))


def main() -> None:
    """Entry point."""
    sys.exit(run(LifecycleManager, make_executor=lambda: PatientExecutor(num_threads=3)))


if __name__ == "__main__":
    main()
