"""SmolVLA as CUDA graphs: exactly the eager numbers, and no memory that grows."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA, which is not here"),
]

CAMERAS = ("front", "wrist")
REPLAYS = 1000


@pytest.fixture(scope="module")
def model():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("lerobot.policies.factory", reason="needs LeRobot")
        from salus_ros.bench import smolvla_model

        return smolvla_model


@pytest.fixture(scope="module")
def make(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vlm")
    model.make_vision_language_model(folder, model.TINY)

    def make(precision="float32", **options):
        config = model.smolvla_config(folder, model.TINY, CAMERAS, device="cuda", **options)
        policy = model.make_policy(config)
        if precision == "bfloat16":
            policy.model.vlm_with_expert.to(torch.bfloat16)
        return policy

    return make


def sampler(policy, **options):
    from salus_ros.policy.lerobot.smolvla.sampler import SmolVLASampler

    return SmolVLASampler(policy, tuple(policy.config.image_features), **options)


def observation(model, seed, words):
    tiny, draw = model.TINY, torch.Generator().manual_seed(seed)
    batch = {
        f"observation.images.{camera}": torch.rand(1, 3, tiny.image, tiny.image, generator=draw)
        for camera in CAMERAS
    }
    batch["observation.state"] = torch.randn(1, model.DIMS, generator=draw)
    batch["observation.language.attention_mask"] = torch.arange(tiny.tokens)[None] < words
    tokens = torch.randint(6, 19, (1, tiny.tokens), generator=draw)
    batch["observation.language.tokens"] = tokens
    return {key: value.cuda() for key, value in batch.items()}


def noise(model, seed, samples=1):
    draw = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(samples, model.TINY.chunk, 32, generator=draw).cuda()


@pytest.mark.parametrize("samples", [1, 8])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_captured_equals_eager_exactly_for_inputs_in_a_row(model, make, precision, samples):
    policy = make(precision)
    graphs = sampler(policy, samples=samples)
    eager = sampler(policy, samples=samples, graphs=False, fixed_shapes=True)
    assert graphs.graphs
    seen = []
    for seed, words in ((0, 5), (1, 9), (0, 5)):
        inputs = observation(model, seed, words), noise(model, seed, samples)
        captured, expected = graphs(*inputs), eager(*inputs)
        assert float((captured.actions - expected.actions).abs().max()) == 0.0
        assert float((captured.latent - expected.latent).abs().max()) == 0.0
        seen.append((captured.actions.clone(), captured.latent.clone()))
    assert float((seen[0][0] - seen[1][0]).abs().max()) > 1e-3
    assert torch.equal(seen[0][0], seen[2][0])
    assert torch.equal(seen[0][1], seen[2][1])


def test_captured_gives_lerobots_numbers(model, make):
    policy = make()
    graphs = sampler(policy)
    for seed, words in ((0, 5), (1, 9)):
        batch, draw = observation(model, seed, words), noise(model, seed)
        expected = policy.predict_action_chunk(dict(batch), noise=draw)
        actions = graphs(batch, draw).actions[:, :, : model.DIMS]
        assert float((actions - expected).abs().max() / expected.abs().max()) <= 1e-5


def test_a_thousand_replays_take_no_more_memory(model, make):
    graphs = sampler(make(), samples=8)
    batch, draw = observation(model, 0, 5), noise(model, 0, 8)
    for _ in range(3):
        graphs(batch, draw)
    torch.cuda.synchronize()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    for _ in range(REPLAYS):
        graphs(batch, draw)
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() - allocated == 0
    assert torch.cuda.memory_reserved() - reserved == 0


def test_warming_up_captures(model, make, tmp_path):
    """The first chunk after activation must not be the one that captures."""
    from salus_ros.policy.registry import make_backend

    model.save_policy(make(), tmp_path / "policy")
    cameras = ", ".join(f"{camera}: observation.images.{camera}" for camera in CAMERAS)
    (tmp_path / "mapping.yaml").write_text(f"rate: 20.0\ncameras: {{{cameras}}}")
    robot = {"joint_names": [f"joint{n}" for n in range(7)], "gripper_name": "gripper"}
    files = {"checkpoint": str(tmp_path / "policy"), "mapping": str(tmp_path / "mapping.yaml")}
    backend = make_backend("lerobot", {**robot, **files, "execution_horizon": 5, "device": "cuda"})
    backend.warm_up()
    assert backend._runner._sampler._captured is not None
