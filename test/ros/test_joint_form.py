"""Joint states read from their bytes are those that the messages say, whatever comes in between."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState as JointStateMessage

from salus_ros.nodes import conversions
from salus_ros.nodes.joint_form import JointReader

JOINTS = tuple(f"panda_joint{k}" for k in range(1, 8))
GRIPPER = "panda_gripper"

numbers = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def messages(draw):
    """Joints in any order, others too, one may be missing; lists are whole, empty or short."""
    names = draw(st.permutations([*JOINTS, GRIPPER, "lift"]))
    names = names[: draw(st.sampled_from([9, 9, 9, 8]))]
    lists = [draw(st.lists(numbers, min_size=len(names), max_size=len(names)))]
    for _ in range(2):
        count = draw(st.sampled_from([len(names), len(names), 0, 3]))
        lists.append(draw(st.lists(numbers, min_size=count, max_size=count)))
    message = JointStateMessage(name=names)
    message.position, message.velocity, message.effort = lists
    message.header.frame_id = draw(st.sampled_from(["", "base"]))
    message.header.stamp = conversions.time_message(draw(st.integers(0, 2**31 * 10**9 - 1)))
    return message


def told(read):
    """What a reader says, in a form in which no number equals itself."""
    try:
        state = read()
    except ValueError as error:
        return str(error)
    arrays = (state.positions, state.velocities, state.efforts)
    return state.stamp, repr(state.gripper), *(array.tobytes() for array in arrays)


@given(st.lists(messages(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_they_are_those_of_the_message(kinds, random):
    reader = JointReader(JOINTS, GRIPPER)
    for _ in range(8):
        message = random.choice(kinds)
        message.position = [random.gauss(0.0, 1.0) for _ in message.position]
        data = serialize_message(message)
        expected = told(lambda m=message: conversions.joint_state(m, JOINTS, GRIPPER))
        assert told(lambda d=data: reader.read(d)) == expected


def test_what_alignment_skips_may_hold_anything(monkeypatch):
    from salus_ros.nodes import joint_form

    message = JointStateMessage(name=[*JOINTS, GRIPPER], position=[0.5] * 8)
    data = bytearray(serialize_message(message))
    reader = JointReader(JOINTS, GRIPPER)
    reader.read(bytes(data))
    skipped = [k for k in range(4, len(data)) if says_the_same(data, k, message)]
    assert len(skipped) > 8
    for k in skipped:
        data[k] = 0xA5
    monkeypatch.setattr(joint_form, "deserialize_message", None)
    assert reader.read(bytes(data)).positions.tolist() == [0.5] * 7


def says_the_same(data, place, message):
    """Whether the message is the same with another byte there."""
    changed = bytearray(data)
    changed[place] ^= 0xFF
    try:
        return deserialize_message(bytes(changed), JointStateMessage) == message
    except (RuntimeError, UnicodeDecodeError):
        return False


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\0\1\0\0" + b"\xff" * 60])
def test_what_is_no_joint_state_is_said_and_the_next_one_is_read(data):
    reader = JointReader(JOINTS, GRIPPER)
    with pytest.raises(ValueError, match=r"joint state of \d+ bytes is none"):
        reader.read(data)
    good = serialize_message(JointStateMessage(name=list(JOINTS), position=[0.5] * 7))
    assert reader.read(good).positions.tolist() == [0.5] * 7


def test_of_the_same_form_no_message_is_made(monkeypatch):
    from salus_ros.nodes import joint_form

    reader = JointReader(JOINTS, GRIPPER)
    message = JointStateMessage(name=[*JOINTS, GRIPPER], position=[0.5] * 8)
    reader.read(serialize_message(message))
    monkeypatch.setattr(joint_form, "deserialize_message", None)
    message.position = np.arange(8.0).tolist()
    state = reader.read(serialize_message(message))
    assert state.positions.tolist() == list(range(7))
    assert state.gripper == 7.0
    message.name[0] = "panda_jointA"
    with pytest.raises(TypeError):
        reader.read(serialize_message(message))
