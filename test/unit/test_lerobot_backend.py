"""LeRobot policies behind the backend's interface: the same actions, and refusals in one line."""

import json
import pickle
import shutil
import socket
from dataclasses import replace

import numpy as np
import pytest

from salus_ros.interfaces import JointState, Observation

JOINTS = tuple(f"joint{number}" for number in range(1, 8))
MAPPING = """
rate: 20.0
cameras: {front: observation.images.front, wrist: observation.images.wrist}
"""


def observe(seed=0, size=(64, 64), instruction="pick up the red block", cameras=("front", "wrist")):
    draw = np.random.default_rng(seed)
    images = {name: draw.integers(0, 256, (*size, 3), dtype=np.uint8) for name in cameras}
    joints = JointState(7, draw.normal(size=7), np.zeros(7), np.empty(0), 0.04)
    return Observation(7, joints, instruction, images)


@pytest.fixture
def make(lerobot, tmp_path):
    """Make a backend of a checkpoint's folder, with a mapping's text."""
    from salus_ros.policy.registry import make_backend

    def make(folder, mapping=MAPPING, **options):
        file = tmp_path / "mapping.yaml"
        file.write_text(mapping)
        given = {
            "joint_names": JOINTS,
            "gripper_name": "gripper",
            "execution_horizon": 5,
            "checkpoint": str(folder),
            "mapping": str(file),
            "device": "cpu",
            **options,
        }
        return make_backend("lerobot", given)

    return make


@pytest.fixture
def copy(smolvla_folder, tmp_path):
    """A copy of the saved policy, to be spoilt."""
    return shutil.copytree(smolvla_folder / "policy", tmp_path / "policy")


@pytest.fixture
def refusal(make):
    """The one line with which a checkpoint is refused."""

    def refusal(folder, *arguments, **options):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            make(folder, *arguments, **options)
        line = str(error.value)
        assert "\n" not in line
        return line

    return refusal


def lerobots_own(lerobot, folder, observation, noise=None):
    """The chunk [rows, dims] as LeRobot itself makes it, processors included."""
    import torch
    from lerobot.configs.policies import PreTrainedConfig

    config = PreTrainedConfig.from_pretrained(folder)
    policy = lerobot.get_policy_class(config.type).from_pretrained(folder, config=config)
    before, after = lerobot.make_pre_post_processors(config, pretrained_path=str(folder))
    state = [*observation.joints.positions, observation.joints.gripper]
    frame = {"observation.state": torch.tensor(state, dtype=torch.float32)}
    for name, image in observation.images.items():
        pixels = torch.tensor(image).permute(2, 0, 1).float() / 255
        frame[f"observation.images.{name}"] = pixels
    batch = before({**frame, "task": observation.instruction})
    options = {} if noise is None else {"noise": noise}
    with torch.no_grad():
        return after(policy.predict_action_chunk(batch, **options))[0].numpy()


def test_smolvla_gives_what_lerobot_gives_for_the_same_noise(make, lerobot, smolvla_folder):
    import torch

    backend = make(smolvla_folder / "policy", action_samples=1)
    noise = torch.randn(1, 10, 32, generator=torch.Generator().manual_seed(0))
    for seed, instruction in ((0, "pick up the red block"), (1, "put it into the box")):
        observation = observe(seed, instruction=instruction)
        expected = lerobots_own(lerobot, smolvla_folder / "policy", observation, noise)
        prediction = backend.predict(observation)
        assert prediction.actions.shape == expected.shape
        largest = np.abs(prediction.actions - expected).max()
        assert largest <= 1e-5 * np.abs(expected).max()
        assert prediction.time_step == 50_000_000


def test_one_pass_gives_latent_distribution_and_stages(make, smolvla_folder):
    backend = make(smolvla_folder / "policy")
    backend.warm_up()
    prediction = backend.predict(observe())
    assert prediction.latent.shape == (64,)
    assert prediction.latent.dtype == np.float32
    assert prediction.distribution.samples == 8
    assert 0.0 < prediction.distribution.softmax_entropy < 1.0
    assert set(prediction.stage_seconds) == {"preprocess", "prefix", "expert", "postprocess"}
    assert backend.cameras == ("front", "wrist")


def test_more_samples_do_not_change_what_is_executed(make, smolvla_folder):
    one = make(smolvla_folder / "policy", action_samples=1).predict(observe())
    eight = make(smolvla_folder / "policy", action_samples=8).predict(observe())
    np.testing.assert_allclose(one.actions, eight.actions, rtol=1e-4, atol=1e-5)
    assert one.distribution is None


def test_the_same_observation_gives_the_same_chunk_and_another_seed_another(make, smolvla_folder):
    backend = make(smolvla_folder / "policy", seed=3)
    first = backend.predict(observe(0)).actions
    backend.predict(observe(1))
    np.testing.assert_array_equal(backend.predict(observe(0)).actions, first)
    other = make(smolvla_folder / "policy", seed=4).predict(observe(0)).actions
    assert np.abs(other - first).max() > 1e-3


def test_the_mapping_reaches_the_actions(make, smolvla_folder):
    plain = make(smolvla_folder / "policy").predict(observe()).actions
    turned = MAPPING + f"joints: [{', '.join(reversed(JOINTS))}]\nstate: [velocities, gripper]\n"
    still = make(smolvla_folder / "policy", turned).predict(observe()).actions
    reference = MAPPING + "state: [velocities, gripper]\n"
    expected = make(smolvla_folder / "policy", reference).predict(observe()).actions
    np.testing.assert_allclose(still[:, :7], expected[:, 6::-1], rtol=1e-6)
    assert np.abs(expected - plain).max() > 1e-3


def test_an_image_that_is_missing_gives_no_chunk(make, smolvla_folder):
    from salus_ros.policy.backend import PolicyError

    backend = make(smolvla_folder / "policy")
    with pytest.raises(PolicyError, match="no image of camera 'wrist'"):
        backend.predict(observe(cameras=("front",)))
    assert backend.predict(observe()).actions.shape == (10, 8)


def test_a_folder_is_loaded_without_the_network(make, smolvla_folder, monkeypatch):
    def connect(*_arguments, **_options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    make(smolvla_folder / "policy").predict(observe())


# What does not fit is refused at configure.


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ("rate: 20\ncameras: {front: observation.images.front}", "images.wrist"),
        (
            "rate: 20\ncameras: {front: observation.images.top, wrist: observation.images.wrist}",
            "images.top",
        ),
        (
            "rate: 20\ncameras: {front: observation.images.front, left: observation.images.front,"
            " wrist: observation.images.wrist}",
            "two cameras",
        ),
        (MAPPING + "state: [positions]", "gives 7 values"),
        (MAPPING + "joints: [joint1]", "the robot's are"),
        (MAPPING + "absent_images: [observation.images.left]", "images.left"),
        (
            "rate: 20\ncameras: {}\nabsent_images: "
            "[observation.images.front, observation.images.wrist]",
            "needs an image",
        ),
        (MAPPING + "vision_language_model: /nowhere/vlm", "/nowhere/vlm"),
    ],
)
def test_a_mapping_that_does_not_fit(refusal, smolvla_folder, mapping, expected):
    assert expected in refusal(smolvla_folder / "policy", mapping)


def test_a_smolvla_may_do_without_a_camera(make, smolvla_folder):
    mapping = (
        "rate: 20\ncameras: {front: observation.images.front}\n"
        "absent_images: [observation.images.wrist]"
    )
    backend = make(smolvla_folder / "policy", mapping)
    assert backend.cameras == ("front",)
    assert backend.predict(observe(cameras=("front",))).actions.shape == (10, 8)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"joint_names": JOINTS[:6]}, "gives 7 values"),
        ({"gripper_name": ""}, "has none"),
        ({"dropout_passes": 3}, "no dropout"),
        ({"precision": "int4"}, "float32, bfloat16"),
        ({"device": "abacus"}, "abacus"),
        ({"checkpoint": ""}, "needs the parameter checkpoint"),
        ({"checkpoint": "/nowhere/policy"}, "no such folder"),
        ({"action_samples": 0}, "action_samples"),
    ],
    ids=str,
)
def test_options_that_do_not_fit(refusal, smolvla_folder, options, expected):
    assert expected in refusal(smolvla_folder / "policy", **options)


def test_a_mapping_must_be_given(lerobot):
    from salus_ros.policy.registry import make_backend

    robot = {"joint_names": JOINTS, "gripper_name": "", "execution_horizon": 5}
    with pytest.raises(ValueError, match="needs the parameter mapping, which is ''"):
        make_backend("lerobot", {**robot, "checkpoint": "/nowhere"})


def test_actions_of_another_robot(refusal, smolvla_folder):
    line = refusal(
        smolvla_folder / "policy", MAPPING + "state: [positions]", joint_names=(*JOINTS, "rail")
    )
    assert "8 dimensions" in line
    assert "8 joints and a gripper" in line


def test_no_cuda_here(refusal, smolvla_folder):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert "no CUDA" in refusal(smolvla_folder / "policy", device="cuda")


def test_a_pickle_is_refused_without_being_opened(refusal, copy, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").write_text, ("",))

    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    assert "is a pickle" in refusal(copy)
    (copy / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    assert "safetensors" in refusal(copy)
    assert not (tmp_path / "sprung").exists()


def test_a_processor_that_names_foreign_code_is_refused(refusal, copy, tmp_path):
    file = copy / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    step = {"class": "subprocess.Popen", "config": {"args": ["touch", str(tmp_path / "ran")]}}
    content["steps"].insert(0, step)
    file.write_text(json.dumps(content))
    assert "subprocess.Popen" in refusal(copy)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("processor", ["preprocessor", "postprocessor"])
def test_missing_statistics_are_refused(refusal, copy, processor):
    file = copy / f"policy_{processor}.json"
    content = json.loads(file.read_text())
    for step in content["steps"]:
        step.pop("state_file", None)
    file.write_text(json.dumps(content))
    line = refusal(copy)
    assert "MEAN_STD" in line
    assert "'mean'" in line


def test_statistics_of_another_width_are_refused(refusal, copy):
    from safetensors.torch import load_file, save_file

    file = next(copy.glob("policy_postprocessor*.safetensors"))
    save_file({name: values[:6].clone() for name, values in load_file(file).items()}, file)
    assert "6 values" in refusal(copy)


def test_weights_with_gaps_are_refused(refusal, copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["model.action_out_proj.weight"]
    save_file(weights, copy / "model.safetensors")
    assert "action_out_proj" in refusal(copy)


def test_weights_of_another_size_are_refused(refusal, copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "expert_width_multiplier": 1.0}))
    assert str(copy) in refusal(copy)


@pytest.mark.parametrize(
    "file", ["config.json", "policy_preprocessor.json", "policy_postprocessor.json"]
)
def test_a_file_that_is_missing_or_broken_is_named(refusal, copy, file):
    (copy / file).write_text("{")
    assert str(copy) in refusal(copy)
    (copy / file).unlink()
    assert file in refusal(copy)


def test_a_vision_language_model_that_is_not_on_this_machine(refusal, copy):
    config = json.loads((copy / "config.json").read_text())
    name = "HuggingFaceTB/SmolVLM2-500M-Video-Instruct"
    (copy / "config.json").write_text(json.dumps({**config, "vlm_model_name": name}))
    line = refusal(copy)
    assert name in line
    assert "vision_language_model" in line


def test_a_hub_that_can_not_be_reached(refusal, monkeypatch):
    from salus_ros.policy.lerobot import loading

    def fetch(*_arguments, **_options):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(loading, "snapshot_download", fetch)
    line = refusal("someone/policy")
    assert "someone/policy" in line
    assert "no route to host" in line


# Another policy: trained here for a few steps, on data made here.


def train_act(lerobot, folder):
    """A small ACT that has seen forty frames; saved with its processors."""
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy

    torch.manual_seed(0)
    config = ACTConfig(
        input_features={
            "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, 32, 48)),
            "observation.state": PolicyFeature(FeatureType.STATE, (8,)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (8,))},
        device="cpu",
        chunk_size=12,
        n_action_steps=12,
        dim_model=32,
        n_heads=2,
        dim_feedforward=64,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        latent_dim=4,
        pretrained_backbone_weights=None,
    )
    states = torch.cumsum(torch.randn(40, 8) * 0.1, dim=0)
    images = torch.rand(40, 3, 32, 48)
    whole = {"mean": states.mean(0), "std": states.std(0)}
    pixel = {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.25)}
    statistics = {"observation.state": whole, "action": whole, "observation.images.front": pixel}
    before, after = lerobot.make_pre_post_processors(config, dataset_stats=statistics)
    policy = ACTPolicy(config)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    for _ in range(5):
        at = torch.randint(0, 28, (4,))
        batch = {
            "observation.state": states[at],
            "observation.images.front": images[at],
            "action": torch.stack([states[start : start + 12] for start in at]),
            "action_is_pad": torch.zeros(4, 12, dtype=torch.bool),
        }
        loss, _ = policy.forward(before(batch))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    policy.save_pretrained(folder)
    before.save_pretrained(folder)
    after.save_pretrained(folder)


ACT_MAPPING = "rate: 20.0\ncameras: {front: observation.images.front}"


@pytest.fixture(scope="module")
def act_folder(lerobot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("act")
    train_act(lerobot, folder)
    return folder


def test_act_runs_as_lerobot_runs_it(make, lerobot, act_folder):
    backend = make(act_folder, ACT_MAPPING)
    backend.warm_up()
    for seed in (0, 1):
        observation = observe(seed, (32, 48), cameras=("front",))
        expected = lerobots_own(lerobot, act_folder, observation)
        prediction = backend.predict(observation)
        np.testing.assert_allclose(prediction.actions, expected, rtol=1e-6, atol=1e-7)
        # What it can't give is not made up: signals 5 to 9 are then invalid.
        assert prediction.latent.size == 0
        assert prediction.distribution is None


def test_act_sees_only_images_of_the_size_that_it_was_trained_with(make, act_folder):
    from salus_ros.policy.backend import PolicyError

    with pytest.raises(PolicyError, match="64 x 64 pixels; the policy was trained with 32 x 48"):
        make(act_folder, ACT_MAPPING).predict(observe(cameras=("front",)))


def test_act_fetches_no_weights_that_its_checkpoint_replaces(make, act_folder, tmp_path):
    copy = shutil.copytree(act_folder, tmp_path / "act")
    config = json.loads((copy / "config.json").read_text())
    config["pretrained_backbone_weights"] = "ResNet18_Weights.IMAGENET1K_V1"
    (copy / "config.json").write_text(json.dumps(config))
    make(copy, ACT_MAPPING)


@pytest.mark.parametrize(
    ("mapping", "options", "expected"),
    [
        (ACT_MAPPING, {"dropout_passes": 3}, "not available"),
        (ACT_MAPPING, {"precision": "bfloat16"}, "is for SmolVLA"),
        (
            "rate: 20\ncameras: {}\nabsent_images: [observation.images.front]",
            {},
            "can't do without",
        ),
    ],
)
def test_what_only_smolvla_can(refusal, act_folder, mapping, options, expected):
    assert expected in refusal(act_folder, mapping, **options)


def test_a_policy_with_a_history_is_fed_it_as_lerobot_does(make, lerobot, tmp_path, caplog):
    """A diffusion policy looks at two observations; its chunk starts at the newer one."""
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
    from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy

    torch.manual_seed(0)
    config = DiffusionConfig(
        input_features={
            "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, 32, 32)),
            "observation.state": PolicyFeature(FeatureType.STATE, (8,)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (8,))},
        device="cpu",
        crop_shape=None,
        down_dims=(16, 32),
        n_groups=4,
        diffusion_step_embed_dim=8,
        num_train_timesteps=4,
        spatial_softmax_num_keypoints=4,
    )
    one = {"min": -torch.ones(8), "max": torch.ones(8)}
    pixel = {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.25)}
    statistics = {"observation.state": one, "action": one, "observation.images.front": pixel}
    before, after = lerobot.make_pre_post_processors(config, dataset_stats=statistics)
    policy = DiffusionPolicy(config).eval()
    policy.save_pretrained(tmp_path / "policy")
    before.save_pretrained(tmp_path / "policy")
    after.save_pretrained(tmp_path / "policy")

    backend = make(tmp_path / "policy", ACT_MAPPING)
    assert "looks at 2 observations" in caplog.text
    for seed in (0, 1):
        observation = replace(observe(seed, (32, 32), cameras=("front",)), stamp=seed)
        torch.manual_seed(seed)
        actual = backend.predict(observation).actions
        state = [*observation.joints.positions, observation.joints.gripper]
        pixels = torch.tensor(observation.images["front"]).permute(2, 0, 1).float() / 255
        frame = {"observation.state": torch.tensor(state).float(), "task": "x"}
        batch = before({**frame, "observation.images.front": pixels})
        torch.manual_seed(seed)
        policy._queues["action"].clear()
        expected = []
        for _ in range(len(actual)):
            expected.append(after(policy.select_action(batch))[0].numpy())
            if len(expected) == 1:
                held = {name: list(queue) for name, queue in policy._queues.items()}
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
        # Taking the other actions showed the policy this observation again.
        for name in ("observation.state", "observation.images"):
            policy._queues[name].extend(held[name])
