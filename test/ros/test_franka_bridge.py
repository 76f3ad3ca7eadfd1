"""The bridge by itself: what it tells of the robot, what the hand is sent."""

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS: run `make build`")

from rclpy.task import Future
from salus_msgs.msg import RobotMode
from sensor_msgs.msg import JointState

from salus_ros.nodes import franka_bridge, franka_hand
from salus_ros.nodes.franka_bridge import FrankaBridge
from salus_ros.nodes.franka_hand import LONGEST_GOAL, FrankaHand
from salus_ros.supervision.limits import GripperLimits

OPEN = 0.08


def test_a_state_that_is_not_understood_does_not_keep_the_last_one_alive(monkeypatch):
    """Else the robot would be told to be ready for good."""
    told = []
    bridge = SimpleNamespace(
        parameter={"robot_state_age": 0.1}.get,
        _looked=SimpleNamespace(take=lambda _: True),
        _state_type=None,
        _state_topic="/fr3/state",
        _mode=RobotMode(mode=RobotMode.MODE_MOVE, ready=True),
        _heard=0.0,
        _mode_of=lambda state: state.no_such_field,
        _use=told.append,
        _modes=SimpleNamespace(publish=lambda _: None),
    )
    monkeypatch.setattr(franka_bridge, "deserialize_message", lambda *_: SimpleNamespace())
    with pytest.raises(AttributeError):
        FrankaBridge._on_robot_state(bridge, b"")
    FrankaBridge._tell_mode(bridge)
    (mode,) = told
    assert not mode.ready
    assert mode.mode == RobotMode.MODE_UNKNOWN


@pytest.mark.parametrize(
    ("mode", "sent"),
    [
        (RobotMode.MODE_MOVE, [0.07]),
        (RobotMode.MODE_UNKNOWN, [0.07]),
        (RobotMode.MODE_USER_STOPPED, []),
        (RobotMode.MODE_REFLEX, []),
    ],
)
def test_the_hand_is_left_alone_while_the_robot_has_stopped_itself(mode, sent):
    bridge = SimpleNamespace(_gripper="hand", width=OPEN, _mode=RobotMode(mode=mode))
    found = []
    hand = SimpleNamespace(command=lambda width, _: found.append(width))
    message = JointState(name=["joint", "hand"], position=[0.0, 0.07])
    FrankaBridge._on_command(bridge, hand, message)
    assert found == sent


class Client:
    """Of an action whose driver takes goals and says no more."""

    goals = ()

    def __init__(self, *_):
        pass

    def server_is_ready(self):
        return True

    def send_goal_async(self, _):
        self.goals.append(Future())
        return self.goals[-1]


class Commands:
    """Of a hand's width at 100 Hz on a clock of their own; the hand stands open."""

    def __init__(self, monkeypatch):
        self.now, self.width, self.errors = 1.0, OPEN, []
        clock = SimpleNamespace(
            monotonic=lambda: self.now, monotonic_ns=lambda: round(self.now * 1e9)
        )
        goal = SimpleNamespace(Goal=lambda **_: SimpleNamespace(epsilon=SimpleNamespace()))
        monkeypatch.setattr(franka_hand, "time", clock)
        monkeypatch.setattr(franka_hand, "ActionClient", Client)
        monkeypatch.setattr(franka_hand, "franka_type", lambda *_: goal)
        monkeypatch.setattr(Client, "goals", [])
        node = SimpleNamespace(
            parameter=lambda name: "binary" if name == "gripper_control" else 1.0,
            guarded=lambda callback: callback,
            report=lambda _, line: self.errors.append(line),
            recovered=lambda _: None,
        )
        self.hand = FrankaHand(node, "/hand", GripperLimits("hand", 0.0, OPEN, 0.1))

    def to(self, width, seconds):
        for _ in range(round(seconds * 100)):
            self.now += 0.01
            self.width += max(-0.001, min(0.001, width - self.width))
            self.hand.command(self.width, OPEN)


def test_a_driver_that_was_restarted_in_the_middle_of_a_goal_gets_the_next_one(monkeypatch):
    commands = Commands(monkeypatch)
    commands.to(OPEN, 0.1)
    commands.to(0.0, 1.0)
    assert len(Client.goals) == 1
    cancelled = []
    handle = SimpleNamespace(accepted=True, cancel_goal_async=lambda: cancelled.append(True))
    commands.to(0.0, LONGEST_GOAL + 2.0)
    assert "no answer within" in commands.errors[0]
    assert len(Client.goals) == 2

    Client.goals[0].set_result(handle)
    assert cancelled == [True], "an answer that comes too late is of no goal of ours"
    commands.to(OPEN, LONGEST_GOAL + 2.0)
    assert len(Client.goals) == 3
