"""What every node has: checked parameters, guarded callbacks, a heartbeat, errors logged once."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from std_msgs.msg import Header

from salus_ros.nodes import parameters as node_parameters
from salus_ros.nodes import qos, topics
from salus_ros.nodes.parameters import Parameter
from salus_ros.nodes.static_executor import StaticExecutor

HEARTBEAT_PERIOD = 0.2  # s; readers wait for ten of them before they call a node lost


class NodeBasics:
    """Mixed into Node and LifecycleNode."""

    # Set by a node that wants its process to end; the process's exit code.
    exit_code: int | None = None

    def set_up(self: Any, parameter_list: Sequence[Parameter]) -> None:
        """Declare the parameters and start the heartbeat; call it once, in the constructor."""
        self._parameter_list = tuple(parameter_list)
        self._reported: dict[str, str] = {}  # what is wrong at present, by its cause
        node_parameters.declare(self, self._parameter_list)
        self.add_on_set_parameters_callback(self._check_parameters)
        self._heartbeat = self.create_publisher(Header, topics.HEARTBEAT, qos.HEARTBEAT)
        self.create_timer(HEARTBEAT_PERIOD, self._beat)

    def parameter(self: Any, name: str) -> Any:
        """Value of a declared parameter."""
        return self.get_parameter(name).value

    def now(self: Any) -> int:
        """This node's ROS time [ns]."""
        # Clock.now() would make a Time of it, which takes a tick twice as long.
        return int(self.get_clock().handle.get_now().nanoseconds)

    def guarded(self: Any, callback: Callable[..., None]) -> Callable[..., None]:
        """The callback, with its exceptions logged: one that reaches rclpy would end the spin."""

        def call(*args: Any) -> None:
            try:
                callback(*args)
            except Exception as error:
                place = getattr(callback, "__name__", "callback")
                self.report(f"{place}/{type(error).__name__}", f"{place}: {error!r}")
                self.get_logger().debug(traceback.format_exc())
                self.on_callback_error(error)

        return call

    def give_way(self: Any) -> None:
        """In the middle of a callback that takes long: run timers that have become due."""
        if isinstance(self.executor, StaticExecutor):
            self.executor.run_due_timers()

    def report(self: Any, cause: str, line: str) -> None:
        """Log an error when its cause appears, not again until `recovered` is called for it."""
        if cause not in self._reported:
            self._reported[cause] = line
            self.get_logger().error(line)

    def recovered(self: Any, cause: str) -> None:
        """The cause is gone: it is logged again the next time that it appears."""
        self._reported.pop(cause, None)

    def on_callback_error(self: Any, error: Exception) -> None:
        """A guarded callback raised; it has been logged."""

    def close(self: Any) -> None:
        """Stop all work before the process ends; safe to call twice."""

    def destroy_node(self: Any) -> None:
        """Node's own; named here for those who know only NodeBasics."""
        super().destroy_node()  # type: ignore[misc]

    def may_change_fixed_parameters(self: Any) -> bool:
        """Whether parameters that aren't tunable may change now."""
        return False

    def _beat(self: Any) -> None:
        beat = Header(stamp=self.get_clock().now().to_msg(), frame_id=self.get_name())
        self._heartbeat.publish(beat)

    def _check_parameters(self: Any, changes: list[RosParameter]) -> Any:
        return node_parameters.refuse_bad_changes(
            self._parameter_list, changes, not self.may_change_fixed_parameters()
        )


class PlainNode(NodeBasics, Node):
    """A node that runs from its start to its end, without a lifecycle."""

    def __init__(self, name: str, parameter_list: Sequence[Parameter] = ()) -> None:
        super().__init__(name)
        self.set_up(parameter_list)
