"""An executor that gathers what its nodes wait for when that changes, not for each callback.

rclpy's own makes a new wait set of all entities after each callback. In the supervisor that took
two thirds of the process's time and made its ticks late. Of what remained, most was the
middleware's: some microseconds for each entity that is waited for, each time. About half of a
node's are services, which are asked for little: while there is other work, they are looked at every
SERVICE_PERIOD.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from rclpy._rclpy_pybind11 import WaitSet
from rclpy.event_handler import EventHandler
from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutObject,
)
from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.task import Future
from rclpy.waitable import NumberOfEntities, Waitable

from salus_ros.interfaces import nanoseconds

EVENT_PERIOD = 0.1  # s between two looks for the middleware's events
SERVICE_PERIOD = 0.005  # s between two looks for requests and answers of services
KINDS = ("subscription", "guard_condition", "timer", "client", "service")


class EntitySet:
    """Entities of nodes and the wait set that is used for them again and again.

    groups: entities of each of KINDS. What another thread destroys meanwhile lasts until `close`.
    """

    def __init__(
        self, context: Any, groups: dict[str, list[Any]], waitables: Sequence[Waitable]
    ) -> None:
        self.groups = groups
        self.waitables = waitables
        numbers = NumberOfEntities(*(len(groups[kind]) for kind in KINDS))
        for waitable in waitables:
            numbers += waitable.get_num_entities()
        sizes = [getattr(numbers, name) for name in NumberOfEntities.__slots__]
        self._wait_set = WaitSet(*sizes, context)
        self._in_use = ExitStack()
        for entity in (one for kind in KINDS for one in groups[kind]):
            self._in_use.enter_context(entity.handle)
        for waitable in waitables:
            self._in_use.enter_context(waitable)
        self._adders = [
            (getattr(self._wait_set, f"add_{kind}"), entity.handle)
            for kind in KINDS
            for entity in groups[kind]
        ]
        self._by_pointer = {
            kind: {entity.handle.pointer: (kind, entity) for entity in groups[kind]}
            for kind in KINDS
            if groups[kind]
        }

    def wait(self, timeout: int) -> list[tuple[str, Any]]:
        """What is ready after at most so long [ns; below 0: any time], with its kind."""
        wait_set = self._wait_set
        wait_set.clear_entities()
        for add, handle in self._adders:
            add(handle)
        for waitable in self.waitables:
            waitable.add_to_wait_set(wait_set)
        wait_set.wait(timeout)
        found = [
            entities[pointer]
            for kind, entities in self._by_pointer.items()
            for pointer in wait_set.get_ready_entities(kind)
            if pointer in entities  # others are parts of waitables
        ]
        return found + [("waitable", w) for w in self.waitables if w.is_ready(wait_set)]

    def close(self) -> None:
        """Wait no more; let go what was destroyed."""
        self._in_use.close()


class StaticExecutor(SingleThreadedExecutor):
    """See the module. A timer that is due goes before any other callback.

    Callbacks of timers, subscriptions and guard conditions are plain functions; those of services
    may be coroutines. All run in the spinning thread, one at a time, whatever their group.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tasks: list[tuple[Any, Any, Any]] = []
        self._stale = True
        self._triggered: dict[Any, None] = {}  # guard conditions that wait for their callback
        self._sets: tuple[EntitySet, ...] = ()
        self._next_events = self._next_services = 0.0
        self._run: dict[str, Callable[[Any], None]] = {
            "subscription": self._run_subscription,
            "guard_condition": self._run_guard,
            "client": lambda one: self._as_task(self._take_client, one),
            "service": lambda one: self._as_task(self._take_service, one),
            "timer": self._run_timer,
            "waitable": lambda one: self._as_task(self._take_waitable, one),
        }

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """As the base class."""
        done = bool(super().shutdown(timeout_sec))
        self._let_go()
        return done

    def wake(self) -> None:
        """rclpy calls it when an entity comes or goes; a destroyed one must not be waited for."""
        self._stale = True
        super().wake()

    def add_node(self, node: Node) -> bool:
        """As the base class."""
        self._stale = True
        return bool(super().add_node(node))

    def remove_node(self, node: Node) -> None:
        """As the base class."""
        self._stale = True
        super().remove_node(node)

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait, at most so long [s], then run all that is ready."""
        for kind, entity in self._wait(timeout_sec):
            self.run_due_timers()
            if self._stale:
                return  # the rest is found again, but for what has just been destroyed
            self._run[kind](entity)
        self.run_due_timers()
        self._run_tasks()

    def spin_once_until_future_complete(
        self, future: Future, timeout_sec: float | TimeoutObject | None = None
    ) -> None:
        """As the base class."""
        future.add_done_callback(lambda _: self.wake())
        timeout = timeout_sec.timeout if isinstance(timeout_sec, TimeoutObject) else timeout_sec
        self.spin_once(timeout)

    def _wait(self, timeout: float | None) -> list[tuple[str, Any]]:
        """What is ready, with its kind; timeout below 0: as None."""
        timeout = None if timeout is not None and timeout < 0.0 else timeout
        if self._stale:
            self._gather()
        found = self._wait_for_any(0.0 if self._triggered else timeout)
        if self._is_shutdown:
            raise ShutdownException()
        if not self._context.ok():
            raise ExternalShutdownException()
        if time.monotonic() >= self._next_events:
            self._next_events = time.monotonic() + EVENT_PERIOD
            found += self._events.wait(0)
        # Waiting resets guard conditions: they are remembered until they have been handled.
        self._triggered |= {one: None for kind, one in found if kind == "guard_condition"}
        others = [(kind, one) for kind, one in found if kind != "guard_condition"]
        return [*others, *(("guard_condition", guard) for guard in self._triggered)]

    def _wait_for_any(self, timeout: float | None) -> list[tuple[str, Any]]:
        """What is ready after at most so long [s]; services among it after SERVICE_PERIOD."""
        rest = self._next_services - time.monotonic()
        if rest > 0.0:
            brief = rest if timeout is None else min(rest, timeout)
            found = self._prompt.wait(nanoseconds(brief))
            if found or brief != rest:
                return found
            timeout = None if timeout is None else timeout - rest
        found = self._entities.wait(-1 if timeout is None else nanoseconds(timeout))
        self._next_services = time.monotonic() + SERVICE_PERIOD
        return found

    def _let_go(self) -> None:
        sets, self._sets = self._sets, ()
        for entities in sets:
            entities.close()

    def _gather(self) -> None:
        self._let_go()
        self._stale = False
        self._next_services = 0.0
        nodes = self.get_nodes()
        groups = {
            "subscription": [one for node in nodes for one in node.subscriptions],
            "guard_condition": [one for node in nodes for one in node.guards],
            "timer": [one for node in nodes for one in node.timers],
            "client": [one for node in nodes for one in node.clients],
            "service": [one for node in nodes for one in node.services],
        }
        groups["guard_condition"] += [self._guard, self._sigint_gc]
        waitables = [one for node in nodes for one in node.waitables]
        # Each publisher and each subscription has two events, which hardly ever happen: most of
        # what there is to wait for.
        events = [one for one in waitables if isinstance(one, EventHandler)]
        others = [one for one in waitables if not isinstance(one, EventHandler)]
        context = self._context.handle
        self._entities = EntitySet(context, groups, others)
        self._prompt = EntitySet(context, groups | {"client": [], "service": []}, others)
        self._events = EntitySet(context, {kind: [] for kind in KINDS}, events)
        self._sets = (self._entities, self._prompt, self._events)
        self._triggered = dict.fromkeys(
            g for g in self._triggered if g in groups["guard_condition"]
        )

    def run_due_timers(self) -> None:
        """Also for a callback that takes long, to call between its parts."""
        for timer in self._entities.groups["timer"]:
            if not self._stale:
                self._run_timer(timer)

    def _run_timer(self, timer: Any) -> None:
        if timer.handle.is_timer_ready():
            timer.handle.call_timer()
            timer.callback()

    def _run_subscription(self, subscription: Any) -> None:
        taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        message_only = subscription._callback_type is Subscription.CallbackType.MessageOnly
        subscription.callback(*taken[: 1 if message_only else 2])

    def _run_guard(self, guard: Any) -> None:
        del self._triggered[guard]
        if guard.callback is not None:  # those of the executor only wake it
            guard.callback()

    def _as_task(self, take: Callable[[Any], Any], entity: Any) -> None:
        work = take(entity)
        if work is not None:
            self.create_task(work)

    def _run_tasks(self) -> None:
        """Those that are new, and those that have waited for something since."""
        for entry in tuple(self._tasks):
            self.run_due_timers()
            task = entry[0]
            task()
            if task.done() or task.cancelled():
                with self._tasks_lock:
                    self._tasks.remove(entry)
                if task.exception() is not None:
                    raise task.exception()
