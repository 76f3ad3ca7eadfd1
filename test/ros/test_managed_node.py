"""What the base of the nodes promises: errors are said, transitions undo themselves."""

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS: run `make build`")

from lifecycle_msgs.msg import State, Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402
from rclpy.node import Node  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from salus_ros.nodes import qos  # noqa: E402
from salus_ros.nodes.managed_node import ConfigurationError, ManagedNode  # noqa: E402
from salus_ros.nodes.parameters import Parameter, ParameterError  # noqa: E402

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
PARAMETERS = (
    Parameter("speed", 1.0, "A number.", minimum=0.0, maximum=2.0),
    Parameter("gain", 1, "A tunable one.", minimum=0, maximum=9, tunable=True),
    Parameter("kind", "a", "A choice.", choices=("a", "b")),
)


class Example(ManagedNode):
    def __init__(self):
        super().__init__("example", PARAMETERS)
        self.error = None
        self.done = []
        self.heard = []

    def _step(self, what):
        self.done.append(what)
        if self.error is not None and what in ("configure", "activate"):
            raise self.error

    def configure(self):
        self._step("configure")
        self.subscribe(String, "/example/text", self._hear, qos.PLAN)

    def activate(self):
        self._step("activate")

    def deactivate(self):
        self._step("deactivate")

    def cleanup(self):
        self._step("cleanup")

    def _hear(self, message):
        self.heard.append(message.data)
        if message.data == "bad":
            raise KeyError("no such thing")


@pytest.fixture
def ros():
    rclpy.init()
    yield
    rclpy.shutdown()


@pytest.fixture
def node(ros):
    node = Example()
    yield node
    node.close()
    node.destroy_node()


def state(node):
    return node._state_machine.current_state[0]


def test_the_whole_life(node):
    for transition in ("configure", "activate", "deactivate", "cleanup"):
        assert getattr(node, f"trigger_{transition}")() == SUCCESS
    assert node.done == ["configure", "activate", "deactivate", "cleanup"]


@pytest.mark.parametrize(
    "error", [ConfigurationError("no model"), FileNotFoundError("no file"), RuntimeError("bug")]
)
def test_a_node_whose_configuration_failed_can_be_configured_again(node, error):
    node.error = error
    assert node.trigger_configure() != SUCCESS
    assert state(node) == State.PRIMARY_STATE_UNCONFIGURED
    assert node.done[-1] == "cleanup"
    node.error = None
    assert node.trigger_configure() == SUCCESS


def test_a_refused_activation_leaves_the_node_inactive(node):
    node.trigger_configure()
    node.error = ConfigurationError("the arm moves")
    assert node.trigger_activate() == FAILURE
    assert state(node) == State.PRIMARY_STATE_INACTIVE
    node.error = None
    assert node.trigger_activate() == SUCCESS


def test_a_bug_in_activation_leaves_the_node_unconfigured_and_usable(node):
    node.trigger_configure()
    node.error = RuntimeError("bug")
    assert node.trigger_activate() == TransitionCallbackReturn.ERROR
    assert state(node) == State.PRIMARY_STATE_UNCONFIGURED
    assert node.done[-2:] == ["deactivate", "cleanup"]
    node.error = None
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS


def spin_until(executor, condition):
    for _ in range(500):
        if condition():
            return True
        executor.spin_once(timeout_sec=0.02)
    return False


def test_a_raising_callback_does_not_end_the_spin(node):
    node.trigger_configure()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    talker = Node("talker")
    publisher = talker.create_publisher(String, "/example/text", qos.PLAN)
    assert spin_until(executor, publisher.get_subscription_count)
    for text in ("bad", "good"):
        publisher.publish(String(data=text))
        assert spin_until(executor, lambda t=text: t in node.heard)
    executor.shutdown()
    talker.destroy_node()


def test_an_impossible_transition_is_answered(node):
    """rclpy would raise out of the spin and never answer."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    client_node = Node("client")
    executor.add_node(client_node)
    client = client_node.create_client(ChangeState, "/example/change_state")
    assert spin_until(executor, client.service_is_ready)
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    future = client.call_async(request)
    assert spin_until(executor, future.done)
    assert not future.result().success
    assert state(node) == State.PRIMARY_STATE_UNCONFIGURED
    executor.shutdown()
    client_node.destroy_node()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("sped:=1.0", "unknown parameter 'sped'; known: "),
        ("speed:=3.0", "speed: 3.0 is above its maximum 2.0"),
        ("speed:=-1", "speed: -1.0 is below its minimum 0.0"),
        ("speed:=fast", "speed: 'fast' is of type str, give a double"),
        ("kind:=c", "kind: 'c' is not one of a, b"),
        ("gain:=1.5", "gain: 1.5 is of type float, give a integer"),
    ],
)
def test_a_wrong_parameter_is_refused_at_the_start(override, says):
    rclpy.init(args=["--ros-args", "-p", override])
    try:
        with pytest.raises(ParameterError) as error:
            Example()
        assert says in str(error.value)
    finally:
        rclpy.shutdown()


def test_a_whole_number_will_do_for_a_float():
    rclpy.init(args=["--ros-args", "-p", "speed:=2"])
    try:
        node = Example()
        assert node.parameter("speed") == 2.0
        node.destroy_node()
    finally:
        rclpy.shutdown()


def change(node, name, value):
    from rclpy.parameter import Parameter as RosParameter

    return node.set_parameters([RosParameter(name, value=value)])[0]


def test_parameters_change_only_where_they_may(node):
    assert change(node, "speed", 1.5).successful
    node.trigger_configure()
    refused = change(node, "speed", 1.0)
    assert not refused.successful
    assert refused.reason == "speed can't change while the node is configured: clean it up first"
    assert change(node, "gain", 5).successful
    assert not change(node, "gain", 10).successful
    assert node.parameter("speed") == 1.5
