"""The nodes' executor: nothing is lost, nothing destroyed is touched, timers go first."""

import contextlib
import threading
import time

import pytest
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.task import Future
from rclpy.waitable import NumberOfEntities, Waitable
from std_msgs.msg import Int32
from std_srvs.srv import Trigger

from salus_ros.nodes.static_executor import StaticExecutor

STEADY = Clock(clock_type=ClockType.STEADY_TIME)
PATIENCE = 10.0


@pytest.fixture
def node():
    rclpy.init()
    node = Node("executed")
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def executor(node):
    executor = StaticExecutor()
    executor.add_node(node)
    yield executor
    executor.shutdown()


def spin_until(executor, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        executor.spin_once(0.05)


def test_messages_made_after_it_was_started_arrive(node, executor):
    """An entity that comes later is waited for, too."""
    executor.spin_once(0.0)
    heard = []
    node.create_subscription(Int32, "numbers", lambda m: heard.append(m.data), 10)
    publisher = node.create_publisher(Int32, "numbers", 10)
    executor.spin_once(0.0)
    for number in range(5):
        publisher.publish(Int32(data=number))
    spin_until(executor, lambda: len(heard) == 5)
    assert heard == list(range(5))


def test_a_subscription_that_is_destroyed_while_its_message_waits_hears_nothing(node, executor):
    heard, subscriptions = [], []

    def on_message(which):
        heard.append(which)
        for other, subscription in enumerate(subscriptions):
            if other != which:
                node.destroy_subscription(subscription)

    for which in range(2):
        one = node.create_subscription(Int32, "numbers", lambda _, w=which: on_message(w), 10)
        subscriptions.append(one)
    node.create_publisher(Int32, "numbers", 10).publish(Int32(data=1))
    spin_until(executor, lambda: heard)
    for _ in range(20):
        executor.spin_once(0.01)
    assert len(heard) == 1


def test_an_error_in_one_callback_loses_no_other(node, executor):
    """Waiting resets a guard condition: one that follows an error must be remembered."""
    done = []

    def fail():
        done.append("failed")
        raise ValueError("on purpose")

    conditions = [
        node.create_guard_condition(fail),
        node.create_guard_condition(lambda: done.append("second")),
    ]
    executor.spin_once(0.0)
    for condition in conditions:
        condition.trigger()

    def spin():
        with contextlib.suppress(ValueError):
            executor.spin_once(0.05)
        return len(done) == 2

    spin_until(executor, spin)
    assert done == ["failed", "second"]


def test_a_timer_that_is_due_goes_before_what_is_ready(node, executor):
    order = []

    def slow(name):
        order.append(name)
        time.sleep(0.03)

    node.create_timer(0.02, lambda: order.append("timer"), clock=STEADY)
    conditions = [node.create_guard_condition(lambda n=n: slow(n)) for n in ("a", "b", "c")]
    executor.spin_once(0.0)
    for condition in conditions:
        condition.trigger()
    spin_until(executor, lambda: "c" in order)
    between = order[order.index("a") :]
    assert between[:5] == ["a", "timer", "b", "timer", "c"]


def test_a_callback_that_takes_long_may_give_way_to_a_due_timer(node, executor):
    order = []

    def slow():
        order.append("first part")
        time.sleep(0.03)
        executor.run_due_timers()
        order.append("second part")

    node.create_timer(0.02, lambda: order.append("timer"), clock=STEADY)
    condition = node.create_guard_condition(slow)
    executor.spin_once(0.0)
    condition.trigger()
    spin_until(executor, lambda: "second part" in order)
    begin = order.index("first part")
    assert order[begin : begin + 3] == ["first part", "timer", "second part"]


def test_a_service_is_heard_while_there_is_other_work_all_the_time(node, executor):
    node.create_service(Trigger, "ask", lambda _, response: response)
    client = node.create_client(Trigger, "ask")
    conditions = []

    def again():
        conditions[0].trigger()

    conditions.append(node.create_guard_condition(again))
    spin_until(executor, client.service_is_ready)
    conditions[0].trigger()
    reply = client.call_async(Trigger.Request())
    spin_until(executor, reply.done)


class Listening(Waitable):
    """A waitable with a subscription of its own, as those of actions have."""

    def __init__(self, handle, heard):
        super().__init__(ReentrantCallbackGroup())
        self.handle, self.heard = handle, heard

    def get_num_entities(self):
        return NumberOfEntities(num_subs=1)

    def add_to_wait_set(self, wait_set):
        self.index = wait_set.add_subscription(self.handle)

    def is_ready(self, wait_set):
        return wait_set.is_ready("subscription", self.index)

    def take_data(self):
        return self.handle.take_message(Int32, False)

    async def execute(self, taken):
        self.heard.append(taken[0].data)

    def __enter__(self):
        self.handle.__enter__()

    def __exit__(self, *error):
        self.handle.__exit__(*error)


def test_what_a_waitable_waits_for_is_its_own(node, executor):
    heard = []
    node.create_subscription(Int32, "others", lambda _: None, 10)
    subscription = node.create_subscription(Int32, "numbers", lambda _: None, 10)
    node._subscriptions.remove(subscription)
    node.add_waitable(Listening(subscription.handle, heard))
    executor.spin_once(0.0)
    node.create_publisher(Int32, "numbers", 10).publish(Int32(data=7))
    spin_until(executor, lambda: heard == [7])


def test_entities_may_be_destroyed_by_another_thread_meanwhile(node, executor):
    """As a recorder does; without a hold on them the wait touches freed memory."""
    ended = threading.Event()
    subscriptions = [
        node.create_subscription(Int32, f"numbers_{k}", lambda _: None, 10) for k in range(50)
    ]
    publisher = node.create_publisher(Int32, "numbers_0", 10)

    def destroy():
        for subscription in subscriptions:
            node.destroy_subscription(subscription)
            time.sleep(0.001)
        ended.set()

    executor.spin_once(0.0)
    handle = subscriptions[0].handle
    threading.Thread(target=destroy).start()
    while not ended.is_set():
        executor.spin_once(0.05)
        publisher.publish(Int32(data=1))
    executor.spin_once(0.0)
    with pytest.raises(InvalidHandle), handle:
        pass  # gone once nobody waits for it


def test_a_service_may_wait_while_others_go_on(node, executor):
    """And waiting keeps no core busy."""
    answer, ticks, spins = Future(), [], 0

    async def serve(_, response):
        response.message = await answer
        return response

    node.create_service(Trigger, "wait", serve)
    client = node.create_client(Trigger, "wait")
    node.create_timer(0.02, lambda: ticks.append(1), clock=STEADY)
    spin_until(executor, client.service_is_ready)
    reply = client.call_async(Trigger.Request())
    ticks.clear()
    while len(ticks) < 10:
        executor.spin_once(0.05)
        spins += 1
    assert not reply.done()
    assert spins < 40
    answer.set_result("now")
    spin_until(executor, reply.done)
    assert reply.result().message == "now"


def test_events_of_the_middleware_are_told(node, executor):
    """They are looked for now and then: a subscription that can't hear is not a silent one."""
    told = []
    node.create_publisher(Int32, "numbers", qos_profile_sensor_data)
    node.create_subscription(
        Int32,
        "numbers",
        lambda _: None,
        10,  # reliable, which a sensor's publisher isn't
        event_callbacks=SubscriptionEventCallbacks(incompatible_qos=told.append),
    )
    spin_until(executor, lambda: told)


def test_an_error_in_a_service_is_told_once(node, executor):
    def fail(_request, _response):
        raise ValueError("on purpose")

    node.create_service(Trigger, "fail", fail)
    client = node.create_client(Trigger, "fail")
    spin_until(executor, client.service_is_ready)
    client.call_async(Trigger.Request())
    with pytest.raises(ValueError, match="on purpose"):
        spin_until(executor, lambda: False)
    for _ in range(10):
        executor.spin_once(0.01)
