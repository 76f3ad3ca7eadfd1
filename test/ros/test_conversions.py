"""Messages to plain types and back; messages that can't be what they claim."""

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS: run `make build`")
messages = pytest.importorskip("salus_msgs.msg", reason="needs salus_msgs: run `make build`")

from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from sensor_msgs.msg import Image, JointState  # noqa: E402

from salus_ros import interfaces  # noqa: E402
from salus_ros.interfaces import JointCommand  # noqa: E402
from salus_ros.nodes import conversions  # noqa: E402
from salus_ros.nodes.command_message import CommandMessage  # noqa: E402

JOINTS = tuple(f"panda_joint{i}" for i in range(1, 8))
GRIPPER = "panda_gripper"
RANGE = (0.0, 0.085)


def chunk(**changes):
    values = {
        "source_id": "a",
        "number": 3,
        "joint_names": JOINTS,
        "gripper_name": GRIPPER,
        "start_time": 1_700_000_000_123_456_789,
        "time_step": 33_333_333,
        "actions": np.arange(16.0).reshape(2, 8),
        "first_fresh_step": 1,
        "execution_horizon": 2,
        "observation_stamp": 1_700_000_000_000_000_001,
    }
    return interfaces.ActionChunk(**{**values, **changes})


def test_a_chunk_survives_the_wire():
    sent = chunk()
    got = conversions.action_chunk(conversions.action_chunk_message(sent), RANGE)
    for name in sent.__slots__:
        if name == "actions":
            assert np.array_equal(got.actions, sent.actions)
        else:
            assert getattr(got, name) == getattr(sent, name), name


def test_a_gripper_fraction_becomes_metres():
    message = conversions.action_chunk_message(chunk())
    message.gripper_unit = message.GRIPPER_UNIT_FRACTION
    message.actions[7] = 1.0
    message.actions[15] = 0.5
    assert conversions.action_chunk(message, RANGE).actions[:, 7] == pytest.approx([0.085, 0.0425])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.actions.pop(), "15 actions don't divide into rows of 8"),
        (lambda m: setattr(m, "gripper_unit", 0), "name both or none"),
        (lambda m: setattr(m, "gripper_name", ""), "name both or none"),
        (lambda m: setattr(m, "time_step", float("nan")), "time step of nan s"),
        (lambda m: setattr(m, "time_step", 1e300), r"time step of 1e\+300 s"),
    ],
)
def test_a_chunk_that_contradicts_itself_is_refused(change, says):
    message = conversions.action_chunk_message(chunk())
    change(message)
    with pytest.raises(ValueError, match=says):
        conversions.action_chunk(message, RANGE)


def test_joints_come_in_the_robots_order_whatever_the_drivers():
    message = JointState()
    message.name = [*reversed(JOINTS), "other", GRIPPER]
    message.position = [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 99.0, 0.04]
    message.velocity = [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 99.0, 0.0]
    state = conversions.joint_state(message, JOINTS, GRIPPER)
    assert state.positions.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert state.velocities == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert state.efforts.size == 0
    assert state.gripper == 0.04


def test_a_missing_joint_is_named():
    message = JointState(name=JOINTS[:6], position=[0.0] * 6)
    with pytest.raises(ValueError, match="joint state lacks panda_joint7"):
        conversions.joint_state(message, JOINTS, GRIPPER)


def test_lists_of_another_length_are_refused():
    message = JointState(name=list(JOINTS), position=[0.0] * 7, velocity=[0.0] * 3)
    with pytest.raises(ValueError, match="names 7 joints but has 3 velocity values"):
        conversions.joint_state(message, JOINTS, GRIPPER)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_images_become_rgb_whatever_their_encoding(encoding):
    image = np.random.default_rng(1).integers(0, 256, (3, 5, 3), np.uint8)
    pixels = image[..., ::-1] if encoding.startswith("bgr") else image
    if encoding.endswith("a8"):
        pixels = np.concatenate([pixels, np.full((3, 5, 1), 255, np.uint8)], axis=2)
    padded = np.zeros((3, 32), np.uint8)  # rows padded to 32 bytes
    width = 5 * pixels.shape[2]
    padded[:, :width] = pixels.reshape(3, width)
    message = Image(height=3, width=5, encoding=encoding, step=32, data=padded.tobytes())
    assert np.array_equal(conversions.image_array(message), image)


def test_an_image_survives_the_wire():
    image = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
    assert np.array_equal(conversions.image_array(conversions.image_message(image, 1, "c")), image)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"encoding": "mono8"}, "image encoding 'mono8' is not one of rgb8"),
        ({"height": 5}, "image of 6 x 5 rgb8 with step 18 has 72 bytes"),
        ({"width": 7}, "image of 7 x 4 rgb8"),
        ({"width": 0}, "image of 0 x 4 rgb8"),
    ],
)
def test_an_image_that_is_not_what_it_says_is_refused(values, says):
    message = conversions.image_message(np.zeros((4, 6, 3), np.uint8), 1, "c")
    for name, value in values.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=says):
        conversions.image_array(message)


def test_policy_state_survives_the_wire():
    sent = interfaces.PolicyState(
        source_id="a",
        chunk_number=2,
        observation_stamp=5,
        instruction="go",
        latent=np.array([1.5, -2.5], np.float32),
        distribution=interfaces.ActionDistribution(8, 0.25, 0.5),
        exits=(interfaces.EarlyExit("image", 7, 0.5),),
        stage_seconds={"plan": 0.25},
        inference_delay_steps=1,
    )
    got = conversions.policy_state(conversions.policy_state_message(sent))
    for name in sent.__slots__:
        assert np.array_equal(getattr(got, name), getattr(sent, name)), name


def test_blocks_survive_the_wire():
    sent = (interfaces.BlockPose("red", np.array([0.5, -0.1, 0.02]), -2.5),)
    got = conversions.block_poses(conversions.block_markers(sent, 7, 0.04))
    assert got[0].color == "red"
    assert np.allclose(got[0].position, sent[0].position)
    assert got[0].yaw == pytest.approx(-2.5)


def test_a_commands_message_is_filled_anew_each_time():
    """Also where it was filled with another one before, with and without a gripper."""
    message = CommandMessage(JOINTS, GRIPPER)
    for stamp, gripper in ((3_000_000_007, 0.04), (5, None), (10**18 + 9, 0.0)):
        sent = JointCommand(
            stamp, np.arange(7.0) + stamp % 11, np.full(7, 0.1), np.zeros(7), gripper
        )
        data = message.serialized(sent)
        received = deserialize_message(data, JointState)
        assert len(data) == len(serialize_message(received))
        assert len(received.name) == 7 + (gripper is not None)
        found = conversions.command(received, JOINTS, GRIPPER if gripper is not None else "")
        assert (found.stamp, found.gripper) == (stamp, gripper)
        assert found.positions.tolist() == sent.positions.tolist()
        assert found.velocities.tolist() == sent.velocities.tolist()
