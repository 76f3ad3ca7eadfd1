"""The policy's features and units against the robot's; without torch."""

import numpy as np
import pytest

from salus_ros.interfaces import JointState
from salus_ros.policy.backend import PolicyError
from salus_ros.policy.lerobot.errors import CheckpointError
from salus_ros.policy.lerobot.mapping import (
    GripperScale,
    PolicyMapping,
    RobotLayout,
    load_mapping,
)

JOINTS = ("a", "b")
STATE = JointState(0, np.array([0.1, 0.2]), np.array([1.0, 2.0]), np.array([5.0, 6.0]), 0.03)


def layout(gripper="hand", **options):
    return RobotLayout(PolicyMapping(30.0, {"front": "image"}, **options), JOINTS, gripper)


def test_positions_and_gripper_in_the_robots_own_order():
    one = layout()
    assert (one.state_dims, one.action_dims) == (3, 3)
    np.testing.assert_allclose(one.state(STATE), [0.1, 0.2, 0.03])
    assert one.state(STATE).dtype == np.float32


def test_state_parts_in_the_policys_order_and_unit():
    one = layout(
        joints=("b", "a"), angle_unit="degrees", state=("gripper", "velocities", "efforts")
    )
    expected = [0.03, np.degrees(2.0), np.degrees(1.0), 6.0, 5.0]
    np.testing.assert_allclose(one.state(STATE), expected, rtol=1e-6)


def test_absolute_actions_come_back_in_the_robots_order_and_unit():
    scale = GripperScale(closed=0.0, open=100.0, closed_width=0.0, open_width=0.08)
    one = layout(joints=("b", "a"), angle_unit="degrees", gripper=GripperScale())
    two = layout(joints=("b", "a"), angle_unit="degrees")
    actions = np.array([[90.0, 45.0, 0.5], [0.0, 180.0, 1.0]])
    expected = [[np.pi / 4, np.pi / 2, 0.5], [np.pi, 0.0, 1.0]]
    np.testing.assert_allclose(one.targets(actions, STATE), expected)
    np.testing.assert_allclose(two.targets(actions, STATE), expected)
    np.testing.assert_allclose(scale.width(np.array([0.0, 50.0, 100.0])), [0.0, 0.04, 0.08])
    assert scale.value(0.02) == pytest.approx(25.0)


def test_a_gripper_that_the_policy_counts_the_other_way():
    scale = GripperScale(closed=1.0, open=0.0, closed_width=0.0, open_width=0.08)
    np.testing.assert_allclose(scale.width(np.array([1.0, 0.25])), [0.0, 0.06])
    assert scale.value(0.08) == pytest.approx(0.0)


def test_relative_actions_become_absolute_and_leave_the_gripper_alone():
    actions = np.array([[0.1, 0.0, 0.05], [0.1, -0.2, 0.06]])
    to_observation = layout(actions="relative_to_observation").targets(actions, STATE)
    np.testing.assert_allclose(to_observation, [[0.2, 0.2, 0.05], [0.2, 0.0, 0.06]])
    to_previous = layout(actions="relative_to_previous").targets(actions, STATE)
    np.testing.assert_allclose(to_previous, [[0.2, 0.2, 0.05], [0.3, 0.0, 0.06]])


def test_an_arm_without_gripper():
    one = layout(gripper="", state=("positions",))
    assert (one.state_dims, one.action_dims) == (2, 2)
    np.testing.assert_allclose(one.targets(np.array([[1.0, 2.0]]), STATE), [[1.0, 2.0]])


@pytest.mark.parametrize(
    ("state", "joints", "message"),
    [
        (("efforts",), JointState(0, np.zeros(2), np.zeros(2), np.empty(0)), "0 efforts, not 2"),
        (("gripper",), JointState(0, np.zeros(2), np.zeros(2), np.empty(0)), "no gripper"),
    ],
)
def test_a_joint_state_that_lacks_a_part_gives_no_chunk(state, joints, message):
    with pytest.raises(PolicyError, match=message):
        layout(state=state).state(joints)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gripper": "", "state": ("gripper",)}, "this robot has none"),
        ({"joints": ("a", "c")}, "joints are a, c; the robot's are a, b"),
        ({"joints": ("a",)}, "joints are a; the robot's are a, b"),
        ({"angle_unit": "turns"}, "angle_unit is 'turns'"),
        ({"actions": "delta"}, "actions is 'delta'"),
        ({"state": ("pose",)}, "state is"),
    ],
)
def test_a_mapping_of_another_robot_is_refused(options, message):
    with pytest.raises(CheckpointError, match=message):
        layout(**options)


def test_a_mapping_file(tmp_path):
    file = tmp_path / "mapping.yaml"
    file.write_text(
        "rate: 15\ncameras: {front: observation.images.top}\njoints: [b, a]\n"
        "gripper: {closed: 0, open: 1, open_width: 0.08}\nactions: relative_to_previous\n"
    )
    mapping = load_mapping(file)
    assert mapping.rate == 15.0
    assert mapping.cameras == {"front": "observation.images.top"}
    assert mapping.joints == ("b", "a")
    assert mapping.gripper.width(np.array([0.5])) == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cameras: {}", "rate is missing"),
        ("rate: 10", "cameras is missing"),
        ("rate: fast\ncameras: {}", "could not convert"),
        ("rate: 0\ncameras: {}", "rate is 0.0"),
        ("rate: .nan\ncameras: {}", "rate is nan"),
        ("rate: 10\ncameras: {}\ncamera: front", "unknown 'camera'"),
        ("rate: 10\ncameras: [front]", "list"),
        ("rate: 10\ncameras: {}\ngripper: {closed: 1, open: 1}", "must differ"),
        ("rate: 10\ncameras: {}\ngripper: {shut: 1}", "shut"),
        ("- rate", "table"),
        ("rate: [", "line 1"),
        ("", "table"),
    ],
)
def test_a_bad_mapping_file_is_one_line_that_names_it(tmp_path, text, message):
    file = tmp_path / "mapping.yaml"
    file.write_text(text)
    with pytest.raises(CheckpointError, match=message) as error:
        load_mapping(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mapping_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_mapping(tmp_path / "none.yaml")
