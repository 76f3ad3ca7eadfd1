"""A client of the running graph, for the command line: watches its topics, calls its services."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter as RosParameter
from salus_msgs.msg import Episode, FailurePrediction, Intervention, SupervisorState
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from salus_ros.nodes import qos, topics
from salus_ros.nodes.conversions import stamp_of
from salus_ros.nodes.recorder import Recorder
from salus_ros.nodes.spun_node import SpunNode
from salus_ros.replay.bag_writer import BagWriter
from salus_ros.replay.errors import BagError
from salus_ros.replay.storage import Storage

SETTLING = 2.0  # s; longest time that the rig takes to rest after the last command


class GraphError(RuntimeError):
    """The graph didn't do what was asked; the message is one line for the user."""


class GraphClient:
    """Spins a node in a thread; callbacks run there, calls block the caller. A context manager.

    on_command: called with the trajectory stamp and the writing time of each joint command [ns];
    None: commands aren't subscribed to. on_intervention, on_state: called with each message of the
    supervisor.
    """

    def __init__(
        self,
        on_command: Callable[[int, int], None] | None,
        on_intervention: Callable[[Intervention], None] = lambda _: None,
        on_state: Callable[[SupervisorState], None] = lambda _: None,
    ) -> None:
        self._spun = SpunNode("salus_client")
        self.node = self._spun.node
        self._changed = threading.Condition()
        self.episode = Episode()
        self.state = SupervisorState()
        self.prediction = FailurePrediction()
        self._service_clients: dict[str, Any] = {}
        if on_command is not None:
            self._listen_to_commands(on_command)
        self._subscribe(on_intervention, on_state)
        self._spun.start()

    def _subscribe(
        self,
        on_intervention: Callable[[Intervention], None],
        on_state: Callable[[SupervisorState], None],
    ) -> None:
        subscribe = self.node.create_subscription
        subscribe(Intervention, topics.INTERVENTIONS, on_intervention, qos.EVENTS)
        subscribe(Episode, topics.SIM_EPISODE, self._keeper("episode"), qos.EVENTS)
        keep_state = self._keeper("state")

        def on_supervisor_state(message: SupervisorState) -> None:
            keep_state(message)
            on_state(message)

        subscribe(SupervisorState, topics.SUPERVISOR_STATE, on_supervisor_state, qos.STATE)
        subscribe(
            FailurePrediction, topics.FAILURE_PREDICTION, self._keeper("prediction"), qos.SIGNALS
        )

    def _keeper(self, attribute: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            with self._changed:
                setattr(self, attribute, message)
                self._changed.notify_all()

        return keep

    def _listen_to_commands(self, on_command: Callable[[int, int], None]) -> None:
        def written(message: JointState, info: Mapping[str, int]) -> None:
            on_command(stamp_of(message.header.stamp), info["source_timestamp"])

        # A deep queue: this reader must see each command, not only the newest.
        self.node.create_subscription(JointState, topics.JOINT_COMMANDS, written, qos.EVERY_COMMAND)

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until the condition holds, looked at with each kept message; False at timeout."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def episode_ended(self, number: int, timeout: float) -> bool:
        """Whether the rig's episode of that number has ended, waiting [s] for it."""

        def ended() -> bool:
            return self.episode.number >= number and self.episode.phase == Episode.PHASE_ENDED

        return self.wait_for(ended, timeout)

    def services_ready(self) -> bool:
        """Whether rig and manager answer."""
        names = {name for name, _ in self.node.get_service_names_and_types()}
        return {topics.RUN, topics.SIM_RESET} <= names

    def last_reason(self) -> str:
        """Why the supervisor is in its mode, in one line."""
        return ", ".join(self.state.reasons) or "the supervisor names no reason"

    def run(self, active: bool, timeout: float = 60.0) -> None:
        """Activate or deactivate the managed nodes. Raises GraphError."""
        self._call(SetBool, topics.RUN, SetBool.Request(data=active), timeout)

    def reset_rig(self, timeout: float = 10.0, **parameters: object) -> None:
        """Begin an episode with these parameters of the rig. Raises GraphError.

        The rig refuses as long as it waits for further commands, so it is asked again for a while.
        """
        values = [RosParameter(name, value=v).to_parameter_msg() for name, v in parameters.items()]
        request = SetParameters.Request(parameters=values)
        results = self._answer(SetParameters, "/sim_rig/set_parameters", request, timeout).results
        for result in results:
            if not result.successful:
                raise GraphError(f"the rig refuses: {result.reason}")
        deadline = time.monotonic() + SETTLING
        while True:
            answer = self._answer(Trigger, topics.SIM_RESET, Trigger.Request(), timeout)
            if answer.success:
                return
            if time.monotonic() > deadline:
                raise GraphError(f"{topics.SIM_RESET}: {answer.message}")
            time.sleep(0.05)

    def _call(self, kind: type, name: str, request: Any, timeout: float) -> None:
        answer = self._answer(kind, name, request, timeout)
        if not answer.success:
            raise GraphError(f"{name}: {answer.message}")

    def _answer(self, kind: type, name: str, request: Any, timeout: float) -> Any:
        # Kept: each new client would have to be discovered again by the server it calls.
        if name not in self._service_clients:
            self._service_clients[name] = self.node.create_client(kind, name)
        client = self._service_clients[name]
        if not client.wait_for_service(timeout):
            raise GraphError(f"{name} is not there after {timeout:g} s")
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(timeout):
            client.remove_pending_request(future)
            raise GraphError(f"{name} gave no answer within {timeout:g} s")
        return future.result()

    def recording(self, folder: Path, storage: Storage = Storage.MCAP) -> Recorder:
        """Records all topics while open. Raises GraphError where the bag can't be made."""
        try:
            return Recorder(self.node, BagWriter(folder, storage))
        except BagError as error:
            raise GraphError(str(error)) from error

    def node_names(self) -> list[str]:
        """Names of all nodes that discovery has found."""
        return list(self.node.get_node_names())

    def __enter__(self) -> GraphClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._spun.close()
