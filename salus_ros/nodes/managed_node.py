"""Base of the four lifecycle nodes: transitions that report their errors and undo themselves."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy._rclpy_pybind11 import RCLError
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from salus_ros.diagnosis import Diagnosis, Level
from salus_ros.nodes.base_node import NodeBasics
from salus_ros.nodes.diagnostics import Diagnostics
from salus_ros.nodes.parameters import Parameter


class ConfigurationError(ValueError):
    """A node can't be configured or activated; the message is one line for the user."""


class ManagedNode(NodeBasics, LifecycleNode):
    """A lifecycle node whose subclasses implement `configure`, `activate`, `deactivate`, `cleanup`.

    What `configure` and `activate` create through `subscribe`, `publish_on`, `serve` and `every`
    is destroyed by the opposite transition. An expected error (a ValueError such as
    ConfigurationError, or FileNotFoundError) in `configure` or `activate` is one logged line and
    FAILURE; any other exception is logged with its traceback and leaves the node unconfigured, to
    be configured again.
    """

    def __init__(self, name: str, parameter_list: Sequence[Parameter] = ()) -> None:
        super().__init__(name)
        self._configured = ExitStack()
        self._activated = ExitStack()
        self._scope = self._configured
        self.active = False
        self.configured = False
        self.set_up(parameter_list)
        self._diagnostics = Diagnostics(self, self.diagnose)

    # What subclasses implement.

    def configure(self) -> None:
        """Allocate, load, validate, warm up."""

    def activate(self) -> None:
        """Start timers and output."""

    def deactivate(self) -> None:
        """Stop what activate started; timers and publishers made by it are destroyed after."""

    def cleanup(self) -> None:
        """Undo configure; its subscriptions and services are destroyed after."""

    def diagnose(self) -> list[Diagnosis]:
        """What /diagnostics says about this node; subclasses add to it."""
        state = "active" if self.active else "inactive" if self.configured else "unconfigured"
        level = Level.WARN if self._reported else Level.OK
        message = "; ".join(self._reported.values()) or state
        return [Diagnosis(f"{self.get_name()}: work", level, message, {"state": state})]

    # What subclasses use.

    def subscribe(
        self,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        *,
        raw: bool = False,
    ) -> None:
        """Subscribe until the opposite transition; raw: to messages as bytes."""
        guarded = self.guarded(callback)
        subscription = self.create_subscription(kind, topic, guarded, profile, raw=raw)
        self._scope.callback(self.destroy_subscription, subscription)

    def publish_on(self, kind: type, topic: str, profile: QoSProfile) -> Publisher:
        """Publisher that lasts until the opposite transition."""
        publisher = self.create_publisher(kind, topic, profile)
        self._scope.callback(self.destroy_publisher, publisher)
        return publisher

    def serve(self, kind: type, name: str, callback: Callable[[Any, Any], Any]) -> None:
        """Service that lasts until the opposite transition."""
        service = self.create_service(kind, name, callback)
        self._scope.callback(self.destroy_service, service)

    def every(self, period: float, callback: Callable[[], None]) -> None:
        """Timer that lasts until the opposite transition; period in seconds."""
        timer = self.create_timer(period, self.guarded(callback))
        self._scope.callback(self.destroy_timer, timer)

    def finally_do(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call this at the opposite transition."""
        self._scope.callback(callback, *args)

    # Transitions.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        self._scope = self._configured
        result = self._attempt("configure", self.configure)
        if result == TransitionCallbackReturn.SUCCESS:
            self.configured = True
            return super().on_configure(state)
        self._undo("cleanup", self.cleanup, self._configured)
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        self._scope = self._activated
        result = self._attempt("activate", self.activate)
        if result == TransitionCallbackReturn.SUCCESS:
            self.active = True
            self._reported.clear()
            return super().on_activate(state)
        self._undo("deactivate", self.deactivate, self._activated)
        if result == TransitionCallbackReturn.ERROR:
            self._undo("cleanup", self.cleanup, self._configured)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        self._undo("deactivate", self.deactivate, self._activated)
        self.active = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        self._undo("cleanup", self.cleanup, self._configured)
        self.configured = False
        return super().on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback: everything was undone already, so the node is unconfigured again."""
        self.configured = False
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Deactivate and clean up whatever state the node is in; safe to call twice."""
        if self.active:
            self._undo("deactivate", self.deactivate, self._activated)
            self.active = False
        if self.configured:
            self._undo("cleanup", self.cleanup, self._configured)
            self.configured = False

    def _attempt(self, what: str, hook: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            hook()
        except (ValueError, FileNotFoundError) as error:
            # Once, however often it is tried again.
            self.report(f"{what}/{error}", f"can't {what}: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            # rclpy would swallow it.
            self.get_logger().error(f"can't {what}:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _undo(self, what: str, hook: Callable[[], None], scope: ExitStack) -> None:
        try:
            hook()
        except Exception:
            self.get_logger().error(f"{what} went wrong:\n{traceback.format_exc()}")
        scope.close()

    def may_change_fixed_parameters(self) -> bool:
        """Until it is configured."""
        return not self.configured

    def _LifecycleNodeMixin__on_change_state(  # noqa: N802
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        """Answer an impossible transition with `success: false`.

        rclpy's own callback (whose mangled name this is) lets the RCLError out, which ends the
        spin and leaves the caller without an answer.
        """
        try:
            return super()._LifecycleNodeMixin__on_change_state(request, response)
        except RCLError as error:
            self.get_logger().error(f"transition refused: {error}".splitlines()[0])
            response.success = False
            return response
