"""Brings the managed nodes up in order, watches their heartbeats, takes them down."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from concurrent import futures

from lifecycle_msgs.msg import State, Transition
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.task import Future
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from salus_ros.diagnosis import Diagnosis, Level
from salus_ros.nodes import qos, topics
from salus_ros.nodes.base_node import PlainNode
from salus_ros.nodes.diagnostics import Diagnostics
from salus_ros.nodes.lifecycle_calls import LifecycleCalls, TransitionError
from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.run import run

SUPERVISOR = "safety_supervisor"
POLICY = "vla_policy"
# The supervisor first, so that nothing moves before it gates; the policy last.
BRING_UP_ORDER = [SUPERVISOR, "failure_predictor", "signal_publisher", POLICY]
# Without these two the arm has nobody to follow or nobody to guard it.
VITAL = {SUPERVISOR, POLICY}

ACTIVATION_RETRY = 0.1  # s

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
        "activation_patience",
        5.0,
        "How long a node that refuses to be activated is asked again [s]: the first joint state "
        "may not be there yet.",
        minimum=0.1,
        maximum=3600.0,
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


class LifecycleManager(PlainNode):
    """See the module.

    What waits for other nodes is a job: bring up, take down, react to a loss, one at a time in a
    thread of their own. rclpy's MultiThreadedExecutor would let callbacks wait instead, but hears
    nothing for seconds now and then: https://github.com/ros2/rclpy/issues/1452.
    """

    def __init__(self) -> None:
        super().__init__("lifecycle_manager", PARAMETERS)
        self._order: list[str] = list(self.parameter("managed_nodes"))
        self._seen: dict[str, float] = {}
        self._lost: set[str] = set()
        self._running: set[str] = set()
        self._jobs = futures.ThreadPoolExecutor(1, "jobs")
        timeout = self.parameter("transition_timeout")
        self._calls = LifecycleCalls(self, self._order, timeout, self._is_silent)
        self.create_subscription(Header, topics.HEARTBEAT, self._on_heartbeat, qos.HEARTBEAT)
        # A group of its own: heartbeats come in while a request waits for its job.
        self.create_service(
            SetBool, topics.RUN, self._on_run, callback_group=MutuallyExclusiveCallbackGroup()
        )
        self._diagnostics = Diagnostics(self, lambda: [self._diagnosis(n) for n in self._order])
        self._watching: futures.Future[None] = self._jobs.submit(self.guarded(self._watch))
        self.create_timer(0.1, self._keep_watching)
        if self.parameter("autostart"):
            self._jobs.submit(self._autostart)

    # Jobs.

    def bring_up(self) -> None:
        """Configure all nodes in order, then activate all; undone where one fails."""
        try:
            for node in self._order:
                self._calls.reach(node, Transition.TRANSITION_CONFIGURE)
            for node in self._order:
                self._activate(node)
        except TransitionError:
            self.take_down(self._order)
            raise

    def _activate(self, node: str) -> None:
        """Try for a while: the first measurements may not have reached the node yet."""
        deadline = time.monotonic() + self.parameter("activation_patience")
        while True:
            try:
                self._calls.reach(node, Transition.TRANSITION_ACTIVATE)
                break
            except TransitionError:
                if self._calls.closing or time.monotonic() > deadline:
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
            if self._calls.current_state(node) == State.PRIMARY_STATE_ACTIVE:
                self._calls.reach(node, Transition.TRANSITION_DEACTIVATE)
        except TransitionError as error:
            self.get_logger().error(str(error))

    # Requests.

    def _autostart(self) -> None:
        success, message = self._do(True)
        if not success and self.parameter("exit_on_failure"):
            self.get_logger().fatal(message)
            self.exit_code = 1

    async def _on_run(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        answer = Future(executor=self.executor)
        job = self._jobs.submit(self._do, request.data)
        job.add_done_callback(lambda done: self._settle(answer, done))
        response.success, response.message = await answer
        return response

    def _settle(self, answer: Future, done: futures.Future[tuple[bool, str]]) -> None:
        """Hand a job's result over to the executor's thread."""
        try:
            answer.set_result(done.result())
        except Exception as error:  # the caller waits for an answer
            answer.set_result((False, repr(error)))
        self.executor.wake()

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
        self._calls.close()
        self._jobs.shutdown(cancel_futures=True)

    # Watching.

    def _on_heartbeat(self, message: Header) -> None:
        self._seen[message.frame_id] = time.monotonic()

    def _is_silent(self, node: str) -> bool:
        seen = self._seen.get(node)
        return seen is not None and time.monotonic() - seen > self.parameter("heartbeat_timeout")

    def _keep_watching(self) -> None:
        if self._watching.done():
            self._watching = self._jobs.submit(self.guarded(self._watch))

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
            self._calls.reach(node, Transition.TRANSITION_CONFIGURE)
            self._activate(node)
        except TransitionError as error:
            self.get_logger().error(str(error))

    def _diagnosis(self, node: str) -> Diagnosis:
        if node in self._lost:
            return Diagnosis(node, Level.ERROR, "lost")
        if node in self._running:
            return Diagnosis(node, Level.OK, "active")
        return Diagnosis(node, Level.WARN, "not active")


def main() -> None:
    """Entry point."""
    sys.exit(run(LifecycleManager))


if __name__ == "__main__":
    main()
