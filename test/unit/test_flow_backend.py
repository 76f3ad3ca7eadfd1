"""The flow policy as a backend: what it gives, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flow_policies import observation, saved  # noqa: E402

from salus_ros.interfaces import JointState  # noqa: E402
from salus_ros.policy.backend import PolicyError  # noqa: E402
from salus_ros.policy.flow.backend import FlowBackend  # noqa: E402
from salus_ros.policy.flow.checkpoint import CheckpointError  # noqa: E402
from salus_ros.sim.world import GRIPPER_NAME, HOME, JOINT_NAMES  # noqa: E402

STEP = 33_333_333


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return saved(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def policy(folder) -> FlowBackend:
    backend = FlowBackend(checkpoint=folder, device="cpu", sampler="eager")
    backend.warm_up()
    return backend


def test_one_pass_gives_chunk_latent_distribution_and_timings(policy):
    prediction = policy.predict(observation())
    assert prediction.actions.shape == (32, 8) and np.isfinite(prediction.actions).all()
    assert prediction.time_step == STEP
    assert prediction.latent.shape == (16,) and prediction.latent.dtype == np.float32
    assert prediction.distribution.samples == 8
    assert 0.0 < prediction.distribution.softmax_entropy < 1.0
    assert {"vision", "prefix", "expert"} <= set(prediction.stage_seconds)


def test_the_same_observation_gives_the_same_chunk_after_a_reset(policy):
    first = policy.predict(observation())
    policy.reset()
    assert np.array_equal(policy.predict(observation()).actions, first.actions)


def test_traced_and_eager_give_the_same_chunks(folder, policy):
    quick = FlowBackend(checkpoint=folder, device="cpu")
    quick.warm_up()
    for seed in (1, 2):
        policy.reset()
        quick.reset()
        slow, fast = policy.predict(observation(seed=seed)), quick.predict(observation(seed=seed))
        np.testing.assert_allclose(fast.actions, slow.actions, atol=1e-6)
        assert np.array_equal(fast.latent, slow.latent)


def test_images_state_and_words_all_matter(policy):
    """Nothing of an earlier observation is left in a later one."""
    reference = policy.predict(observation()).actions
    others = [
        observation(seed=1),
        observation(instruction="pick up the blue block"),
        observation(positions=HOME + 0.05),
    ]
    for other in others:
        policy.reset()
        relative = policy.predict(other).actions - other.joints.positions[0]
        assert not np.allclose(relative, reference - HOME[0], atol=1e-6)
    policy.reset()
    assert np.array_equal(policy.predict(observation()).actions, reference)


def test_a_chunk_goes_on_where_the_last_one_leads_to(policy):
    first = policy.predict(observation(0))
    second = policy.predict(observation(3 * STEP, positions=HOME + 0.001))
    np.testing.assert_allclose(second.actions[0, :7], first.actions[3, :7], atol=1e-9)


def test_an_arm_that_was_moved_away_is_where_the_chunk_starts(policy):
    policy.predict(observation(0))
    second = policy.predict(observation(3 * STEP, positions=HOME + 0.3))
    np.testing.assert_allclose(second.actions[0, :7], HOME + 0.3)


def test_the_number_of_samples_does_not_change_what_is_executed(folder):
    alone = FlowBackend(checkpoint=folder, device="cpu", sampler="eager", action_samples=1)
    many = FlowBackend(checkpoint=folder, device="cpu", sampler="eager", action_samples=6)
    one, six = alone.predict(observation()), many.predict(observation())
    np.testing.assert_allclose(one.actions, six.actions, atol=1e-5)
    assert one.distribution.samples == 1 and six.distribution.samples == 6


def test_dropout_passes_measure_the_dropout_and_leave_the_chunk_alone(folder):
    plain = FlowBackend(checkpoint=folder, device="cpu", sampler="eager")
    passes = FlowBackend(checkpoint=folder, device="cpu", sampler="eager", dropout_passes=4)
    torch.manual_seed(1)
    prediction = passes.predict(observation())
    np.testing.assert_allclose(prediction.actions, plain.predict(observation()).actions, atol=1e-5)
    assert prediction.distribution.samples == 4
    assert prediction.distribution.softmax_entropy > 0.0


def test_a_policy_without_dropout_refuses_dropout_passes(tmp_path):
    with pytest.raises(CheckpointError, match="no dropout"):
        FlowBackend(checkpoint=saved(tmp_path, dropout=0.0), device="cpu", dropout_passes=3)


@pytest.mark.parametrize(
    "text", ["", "dance", "pick up the red block " * 500, "подними красный кубик", "\x00" * 9]
)
def test_an_unknown_instruction_is_refused_in_one_line_that_lists_the_known(policy, text):
    with pytest.raises(PolicyError, match="known: pick up the blue block") as error:
        policy.predict(observation(instruction=text))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert policy.predict(observation()).actions.shape == (32, 8)


def test_case_spaces_and_a_full_stop_do_not_matter(policy):
    plain = policy.predict(observation()).actions
    policy.reset()
    spoken = policy.predict(observation(instruction="  Pick up  the RED block. ")).actions
    assert np.array_equal(plain, spoken)


def test_images_of_another_size_are_scaled_and_too_small_ones_refused(policy):
    for size in ((16, 16), (48, 64), (33, 50)):
        assert policy.predict(observation(size=size)).actions.shape == (32, 8)
    with pytest.raises(PolicyError, match="at least 16 x 16"):
        policy.predict(observation(size=(8, 8)))


def test_bad_observations_are_refused_and_the_next_good_one_is_not(policy):
    good = observation()
    grey = replace(good, images={c: i[..., 0] for c, i in good.images.items()})
    floats = replace(good, images={c: i / 255.0 for c, i in good.images.items()})
    one_camera = replace(good, images={"front": good.images["front"]})
    still = np.zeros(6)
    six_joints = replace(good, joints=JointState(0, still, still, still, 0.08))
    no_gripper = replace(good, joints=replace(good.joints, gripper=None))
    nan = replace(good, joints=replace(good.joints, positions=np.full(7, np.nan)))
    for bad in (grey, floats, one_camera, six_joints, no_gripper, nan):
        with pytest.raises(PolicyError) as error:
            policy.predict(bad)
        assert "\n" not in str(error.value)
        assert np.isfinite(policy.predict(good).actions).all()


def test_a_policy_of_another_robot_is_refused(folder):
    fr3 = [f"fr3_joint{i}" for i in range(1, 8)]
    with pytest.raises(CheckpointError, match="the checkpoint moves panda_joint1.*fr3_joint1"):
        FlowBackend(joint_names=fr3, gripper_name="hand", checkpoint=folder)
    with pytest.raises(CheckpointError, match="no gripper"):
        FlowBackend(joint_names=JOINT_NAMES, gripper_name="", checkpoint=folder)
    FlowBackend(joint_names=list(JOINT_NAMES), gripper_name=GRIPPER_NAME, checkpoint=folder)


def test_cuda_without_memory_is_one_line_at_configure_and_silence_while_running(
    policy, folder, monkeypatch
):
    def full(*args, **kwargs):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 GiB")

    monkeypatch.setattr(FlowBackend, "_make_samplers", full)
    with pytest.raises(CheckpointError, match="set device to cpu"):
        FlowBackend(checkpoint=folder, device="cpu")
    monkeypatch.undo()
    monkeypatch.setattr(FlowBackend, "_draw", full)
    with pytest.raises(PolicyError, match="out of memory"):
        policy.predict(observation())
    monkeypatch.undo()
    assert policy.predict(observation()).actions.shape == (32, 8)


@pytest.mark.parametrize("device", ["warp", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(folder, device):
    with pytest.raises(CheckpointError, match=device):
        FlowBackend(checkpoint=folder, device=device)
