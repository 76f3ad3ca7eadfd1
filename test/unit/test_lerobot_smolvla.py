"""SmolVLA's fast path gives LeRobot's numbers: same weights, same observation, same noise."""

import pytest

# Of float32 sums taken in another order, 1e-7 as seen; wrong positions in one kind of layer are off
# by 8e-5, another observation by 3e-2.
RELATIVE = 1e-5
CAMERAS = ("front", "wrist")


@pytest.fixture(scope="module")
def model(lerobot):
    from salus_ros.bench import smolvla_model

    return smolvla_model


@pytest.fixture
def make(model, smolvla_folder):
    def make(cameras=CAMERAS, **options):
        config = model.smolvla_config(smolvla_folder / "vlm", model.TINY, cameras, **options)
        return model.make_policy(config)

    return make


def observation(model, seed, words=5, cameras=CAMERAS, size=None, pad_left=False):
    """As SmolVLA's pre-processor leaves it, padded to the longest instruction."""
    import torch

    tiny, draw = model.TINY, torch.Generator().manual_seed(seed)
    height, width = size or (tiny.image, tiny.image)
    batch = {
        f"observation.images.{camera}": torch.rand(1, 3, height, width, generator=draw)
        for camera in cameras
    }
    batch["observation.state"] = torch.randn(1, model.DIMS, generator=draw)
    mask = torch.arange(tiny.tokens)[None] < words
    batch["observation.language.attention_mask"] = mask.flip(1) if pad_left else mask
    tokens = torch.randint(6, 19, (1, tiny.tokens), generator=draw)
    batch["observation.language.tokens"] = tokens
    return batch


def noise(model, seed, samples=1):
    import torch

    draw = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(samples, model.TINY.chunk, 32, generator=draw)


def keys(cameras=CAMERAS):
    return tuple(f"observation.images.{camera}" for camera in cameras)


def fast(policy, cameras=CAMERAS, **options):
    from salus_ros.policy.lerobot.smolvla.sampler import SmolVLASampler

    return SmolVLASampler(policy, keys(cameras), graphs=False, **options)


def stock(policy, batch, draw):
    policy.reset()
    return policy.predict_action_chunk(dict(batch), noise=draw)


def difference(sample, expected):
    actions = sample.actions[:, :, : expected.shape[2]]
    return float((actions - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("fixed_shapes", [False, True], ids=["trimmed", "padded"])
def test_two_observations_in_a_row_give_lerobots_numbers(model, make, fixed_shapes):
    policy = make()
    sampler = fast(policy, fixed_shapes=fixed_shapes)
    results = []
    for seed, words in ((0, 5), (1, 9)):
        batch, draw = observation(model, seed, words), noise(model, seed)
        expected = stock(policy, batch, draw)
        assert difference(sampler(batch, draw), expected) <= RELATIVE
        results.append(expected)
    # The comparison would see a result that is still the first observation's.
    batch, draw = observation(model, 1, 9), noise(model, 0)
    assert difference(sampler(batch, draw), results[0]) > 1000 * RELATIVE


@pytest.mark.parametrize("words", [1, 12])
@pytest.mark.parametrize("fixed_shapes", [False, True], ids=["trimmed", "padded"])
def test_shortest_and_longest_instruction(model, make, words, fixed_shapes):
    policy = make()
    batch, draw = observation(model, 2, words), noise(model, 2)
    sample = fast(policy, fixed_shapes=fixed_shapes)(batch, draw)
    assert difference(sample, stock(policy, batch, draw)) <= RELATIVE


def test_instructions_padded_on_the_left(model, make):
    policy = make()
    batch, draw = observation(model, 3, 4, pad_left=True), noise(model, 3)
    expected = stock(policy, batch, draw)
    for fixed_shapes in (False, True):
        sample = fast(policy, fixed_shapes=fixed_shapes)(batch, draw)
        assert difference(sample, expected) <= RELATIVE


def test_images_of_another_size_are_fitted_as_lerobot_does(model, make):
    policy = make()
    batch, draw = observation(model, 4, size=(48, 96)), noise(model, 4)
    assert difference(fast(policy)(batch, draw), stock(policy, batch, draw)) <= RELATIVE


@pytest.mark.parametrize("marks", [False, True], ids=["plain", "marked images"])
@pytest.mark.parametrize("empty", [0, 1, 2])
def test_a_missing_camera(model, make, empty, marks):
    """LeRobot masks up to `empty_cameras` missing images, and leaves the others out."""
    cameras = (*CAMERAS, "left")
    policy = make(cameras, empty_cameras=empty, add_image_special_tokens=marks)
    batch, draw = observation(model, 5), noise(model, 5)
    sample = fast(policy)(batch, draw)
    assert difference(sample, stock(policy, batch, draw)) <= RELATIVE


@pytest.mark.parametrize(
    "options",
    [
        {"attention_mode": "self_attn"},
        {"self_attn_every_n_layers": 0},
        {"self_attn_every_n_layers": 3},
        {"num_steps": 3},
        {"prefix_length": 40},
        {"add_image_special_tokens": True},
        {"min_period": 0.1, "max_period": 1.0},
        {"num_vlm_layers": 1},
    ],
    ids=str,
)
def test_other_configurations(model, make, options):
    policy = make(**options)
    batch, draw = observation(model, 6), noise(model, 6)
    assert difference(fast(policy)(batch, draw), stock(policy, batch, draw)) <= RELATIVE


def test_each_of_eight_samples_is_what_its_noise_alone_gives(model, make):
    policy = make()
    batch, draws = observation(model, 7), noise(model, 7, samples=8)
    sample = fast(policy, samples=8)(batch, draws)
    for number in range(8):
        expected = stock(policy, batch, draws[number : number + 1])
        one = sample.actions[number : number + 1, :, : model.DIMS]
        assert float((one - expected).abs().max() / expected.abs().max()) <= RELATIVE


def test_the_latent_is_the_mean_hidden_state_of_lerobots_own_prefix(model, make):
    import torch

    policy = make()
    batch, draw = observation(model, 8), noise(model, 8)
    text = policy.model.vlm_with_expert.get_vlm_model().text_model
    seen = []
    text.layers[-1].input_layernorm.register_forward_hook(lambda _m, i, _o: seen.append(i[0]))
    stock(policy, batch, draw)
    images = 2 * 4  # tokens, all valid; then the instruction's, of which 5 are, then the state
    valid = torch.cat((torch.ones(images), torch.arange(model.TINY.tokens) < 5, torch.ones(1)))
    with torch.inference_mode():
        expected = text.norm(seen[0])[0][valid.bool()].mean(dim=0)
        for fixed_shapes in (False, True):
            latent = fast(policy, fixed_shapes=fixed_shapes)(batch, draw).latent
            assert torch.allclose(latent, expected, rtol=1e-4, atol=1e-6)


def test_the_latent_follows_the_observation_and_not_the_noise(model, make):
    import torch

    sampler = fast(make())
    one = sampler(observation(model, 9), noise(model, 9)).latent.clone()
    same = sampler(observation(model, 9), noise(model, 10)).latent.clone()
    other = sampler(observation(model, 10), noise(model, 9)).latent.clone()
    assert torch.equal(one, same)
    assert float((one - other).abs().max()) > 1e-3


def test_half_precision_stays_near_lerobots(model, make):
    import torch

    policy = make()
    batch, draw = observation(model, 11), noise(model, 11)
    full = stock(policy, batch, draw)
    policy.model.vlm_with_expert.to(torch.bfloat16)
    sampler = fast(policy)
    expected = stock(policy, batch, draw)
    rounding = float((expected - full).abs().max() / full.abs().max())
    assert rounding > 0
    assert difference(sampler(batch, draw), expected) <= 4 * rounding


def test_a_step_computes_nothing_of_the_prefix(model, make):
    """What LeRobot projects anew in each step, the prefix for the cross layers, is done once."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def products(steps):
        sampler = fast(make(num_steps=steps))
        counter = FlopCounterMode(display=False)
        with counter, torch.inference_mode():
            sampler(observation(model, 12), noise(model, 12))
        counts = counter.get_flop_counts()["Global"]
        return sum(counts[op] for op in (torch.ops.aten.mm, torch.ops.aten.addmm) if op in counts)

    tiny, mlp = model.TINY, 256
    width, heads = tiny.hidden // 2, tiny.heads * tiny.head
    per_token = 32 * width + width * width + width * 32  # in, time, out
    for crosses in (False, True, False, True):
        own_keys = 0 if crosses else 2 * tiny.key_value_heads * tiny.head
        per_token += width * (2 * heads + own_keys + 3 * mlp)
    assert products(3) - products(2) == 2 * tiny.chunk * per_token


def test_a_batch_of_two_observations_is_refused(model, make):
    import torch

    from salus_ros.policy.backend import PolicyError

    batch = {key: torch.cat((value, value)) for key, value in observation(model, 0).items()}
    with pytest.raises(PolicyError, match="takes 1"):
        fast(make())(batch, noise(model, 0))


def test_an_instruction_longer_than_the_captured_shape_is_refused(model, make):
    import torch

    from salus_ros.policy.backend import PolicyError

    batch = observation(model, 0)
    longer = torch.ones(1, model.TINY.tokens + 1)
    batch["observation.language.tokens"] = longer.long()
    batch["observation.language.attention_mask"] = longer.bool()
    with pytest.raises(PolicyError, match="13 tokens, this policy takes 12"):
        fast(make(), fixed_shapes=True)(batch, noise(model, 0))


def test_without_cuda_graphs_fall_back_to_eager_saying_so_once(model, make, caplog):
    import torch

    from salus_ros.policy.lerobot.smolvla.sampler import SmolVLASampler

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    sampler = SmolVLASampler(make(), keys())
    for seed in range(3):
        sampler(observation(model, seed), noise(model, seed))
    assert [record.message for record in caplog.records].count(
        "no CUDA graphs on 'cpu': SmolVLA runs eagerly"
    ) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"adapt_to_pi_aloha": True}, "adapt_to_pi_aloha"),
        ({"num_expert_layers": 2}, "2 expert layers on 4"),
        ({"resize_imgs_with_padding": None}, "no known size"),
    ],
    ids=str,
)
def test_what_the_fast_path_can_not_do_is_named(make, options, reason):
    with pytest.raises(ValueError, match=reason):
        fast(make(**options))


def test_nothing_that_is_captured_reads_a_value_or_mixes_devices(model, make, monkeypatch):
    """On fake CUDA tensors, which have no values: what asks the host for one raises."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from salus_ros.policy.lerobot.smolvla import vision
    from salus_ros.policy.lerobot.smolvla.prefix import SmolVLAInputs

    policy = make((*CAMERAS, "left"), empty_cameras=1, add_image_special_tokens=True)
    policy.config.device = "cuda"
    tiny, patches = model.TINY, (model.TINY.image // model.TINY.patch) ** 2
    with FakeTensorMode():
        for module in policy.modules():
            for table in (module._parameters, module._buffers):
                for name, value in table.items():
                    if value is None:
                        continue
                    fake = torch.empty(value.shape, dtype=value.dtype, device="cuda")
                    table[name] = torch.nn.Parameter(fake, requires_grad=False)
        marks = torch.empty(2, dtype=torch.long), torch.empty(1, dtype=torch.long)
        policy.model.global_image_start_token, policy.model.image_end_token = marks
        # Looked up once, before capture.
        positions = torch.empty(1, patches, tiny.vision_hidden, device="cuda")
        monkeypatch.setattr(vision, "_position_embeddings", lambda *_: positions)
        sampler = fast(policy, samples=8, fixed_shapes=True)
        inputs = SmolVLAInputs(
            images=torch.empty(2, 3, tiny.image, tiny.image, device="cuda"),
            tokens=torch.empty(tiny.tokens, dtype=torch.long, device="cuda"),
            token_valid=torch.empty(tiny.tokens, dtype=torch.bool, device="cuda"),
            state=torch.empty(32, device="cuda"),
        )
        with torch.inference_mode():
            prefix = sampler.encode(inputs)
            actions = sampler.expert(torch.empty(8, tiny.chunk, 32, device="cuda"), prefix)
    assert actions.shape == (8, tiny.chunk, 32)
    assert (actions.device.type, prefix.latent.device.type) == ("cuda", "cuda")
