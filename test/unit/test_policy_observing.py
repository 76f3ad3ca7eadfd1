"""The newest inputs, put together into observations of one moment."""

import numpy as np
import pytest

from salus_ros.interfaces import BlockPose, Instant, JointState
from salus_ros.policy.observing import FreshnessBounds, ObservationBuffer

MS = 1_000_000


def joints(stamp, value=0.0):
    return JointState(stamp, np.full(7, value), np.zeros(7), np.empty(0), 0.04)


def at(ms):
    return Instant(ros=ms * MS, steady=ms * MS)


IMAGE = np.zeros((4, 4, 3), np.uint8)
BLOCKS = (BlockPose("red", np.zeros(3), 0.0),)


def test_a_blind_policy_sees_the_newest_joint_state():
    buffer = ObservationBuffer((), privileged=False)
    buffer.on_instruction("go")
    for ms in (10, 20, 30):
        buffer.on_joints(joints(ms * MS, ms), at(ms))
    observation = buffer.observation(at(31))
    assert observation.stamp == 30 * MS
    assert observation.joints.positions[0] == 30


def test_joints_are_those_of_the_image():
    """A late image goes with the joint state of its own moment, not with the newest."""
    buffer = ObservationBuffer(("front", "wrist"), privileged=False)
    buffer.on_instruction("go")
    for ms in range(0, 200, 10):
        buffer.on_joints(joints(ms * MS, ms), at(ms))
    buffer.on_image("front", IMAGE, 100 * MS, at(180))
    buffer.on_image("wrist", IMAGE, 62 * MS, at(185))
    observation = buffer.observation(at(190))
    assert observation.stamp == 60 * MS
    assert observation.joints.positions[0] == 60
    assert set(observation.images) == {"front", "wrist"}


@pytest.mark.parametrize(
    ("leave_out", "says"),
    [
        ("instruction", "no instruction"),
        ("joints", "no joint state within 0.1 s"),
        ("image", "no image of camera 'front' within 0.5 s"),
        ("blocks", "no block poses within 0.5 s"),
    ],
)
def test_what_is_lacking_is_named(leave_out, says):
    buffer = ObservationBuffer(("front",), privileged=True)
    if leave_out != "instruction":
        buffer.on_instruction("go")
    if leave_out != "joints":
        buffer.on_joints(joints(0), at(0))
    if leave_out != "image":
        buffer.on_image("front", IMAGE, 0, at(0))
    if leave_out != "blocks":
        buffer.on_blocks(BLOCKS, 0, at(0))
    assert says in buffer.observation(at(1))


@pytest.mark.parametrize(("age", "fresh"), [(100, True), (101, False)])
def test_a_stopped_arm_is_noticed(age, fresh):
    buffer = ObservationBuffer((), privileged=False, bounds=FreshnessBounds(joints=0.1))
    buffer.on_instruction("go")
    buffer.on_joints(joints(0), at(0))
    assert isinstance(buffer.observation(at(age)), str) is not fresh


def test_blocks_are_handed_only_to_a_privileged_policy():
    buffer = ObservationBuffer((), privileged=False)
    buffer.on_instruction("go")
    buffer.on_joints(joints(0), at(0))
    buffer.on_blocks(BLOCKS, 0, at(0))
    assert buffer.observation(at(1)).privileged_blocks == ()


def test_a_clock_that_was_set_back_does_not_mix_times():
    buffer = ObservationBuffer((), privileged=False)
    buffer.on_instruction("go")
    buffer.on_joints(joints(5000 * MS, 5.0), at(0))
    buffer.on_joints(joints(10 * MS, 1.0), at(10))
    assert buffer.observation(at(11)).stamp == 10 * MS


def test_clear_forgets_measurements_but_not_the_task():
    buffer = ObservationBuffer((), privileged=False)
    buffer.on_instruction("go")
    buffer.on_joints(joints(0), at(0))
    buffer.clear()
    assert "no joint state" in buffer.observation(at(1))
    buffer.on_joints(joints(1), at(1))
    assert buffer.observation(at(1)).instruction == "go"
