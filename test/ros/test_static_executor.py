"""The nodes' executor: nothing is lost, nothing destroyed is touched, timers go first."""

import contextlib
import time

import pytest
import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.task import Future
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
