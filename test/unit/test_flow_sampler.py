"""The sampler against plain loops, and what it keeps constant against what would be made anew."""

from __future__ import annotations

import logging

import pytest

torch = pytest.importorskip("torch")

from salus_ros.policy.flow import sampler as sampling  # noqa: E402
from salus_ros.policy.flow.config import FlowConfig  # noqa: E402
from salus_ros.policy.flow.flow import ExpertStep, held_of  # noqa: E402
from salus_ros.policy.flow.network import FlowNetwork, Prefix  # noqa: E402

TINY = FlowConfig(
    joint_names=("a", "b"),
    gripper_name="g",
    cameras=("front",),
    instructions=("pick up the red block",),
    image_size=16,
    channels=(4, 4, 8, 8),
    image_tokens=6,
    width=16,
    heads=2,
    layers=2,
    mlp_width=32,
    expert_layers=2,
    expert_mlp_width=32,
    rows=8,
    steps=5,
    samples=3,
    execution_rows=4,
)


def tiny_network(seed: int = 0) -> FlowNetwork:
    torch.manual_seed(seed)
    return FlowNetwork(TINY).eval()


def observed(network: FlowNetwork, seed: int) -> torch.Tensor:
    """Hidden states of the prefix for a random observation."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(1, 1, 3, 16, 16, generator=generator)
    words = torch.tensor([[1, 2, 5, 6, 10, 0, 0, 0]])
    state = torch.randn(1, TINY.state_size, generator=generator)
    with torch.no_grad():
        return network.encode(network.tokens(network.see(images), words, state))


def noise_of(seed: int, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 8, 3, generator=torch.Generator().manual_seed(seed))


def plain_loop(network: FlowNetwork, hidden: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Nothing hoisted: prefix keys and values, and time embeddings, are made at each step."""
    x = noise.clone()
    with torch.no_grad():
        for i in range(5):
            time = i / 5
            modulations = network.expert.modulations(torch.full((len(x),), time))
            repeated = hidden.expand(len(x), -1, -1)
            clean = network.expert(x, network.prefix(repeated), modulations)
            x = x + (clean - x) / (1.0 - time) / 5
    return x


def sampled(network: FlowNetwork, hidden: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    sampler = sampling.EagerSampler(ExpertStep(network.expert, 5), 5)
    with torch.no_grad():
        return sampler(noise, held_of(network.prefix(hidden)))


def test_hoisting_prefix_and_times_changes_no_number():
    network = tiny_network()
    for seed in (1, 2):  # two in a row: nothing of the first may be left in the second
        hidden, noise = observed(network, seed), noise_of(seed)
        expected = plain_loop(network, hidden, noise)
        torch.testing.assert_close(sampled(network, hidden, noise), expected, rtol=1e-5, atol=1e-6)


def test_another_observation_gives_another_chunk_and_the_same_one_the_same():
    network, noise = tiny_network(), noise_of(0)
    first, second = observed(network, 1), observed(network, 2)
    assert torch.equal(sampled(network, first, noise), sampled(network, first, noise))
    assert not torch.allclose(sampled(network, first, noise), sampled(network, second, noise))


def test_a_sample_does_not_depend_on_the_others_of_its_batch():
    network, noise = tiny_network(), noise_of(0)
    hidden = observed(network, 1)
    together = sampled(network, hidden, noise)
    alone = sampled(network, hidden, noise[:1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-5, atol=1e-6)


def test_the_noise_is_left_as_it_was():
    network, noise = tiny_network(), noise_of(0)
    before = noise.clone()
    sampled(network, observed(network, 1), noise)
    assert torch.equal(noise, before)


def test_the_last_step_ends_on_the_networks_prediction():
    """From flow time 1 - 1/n a full Euler step of (clean - x) / (1 - t) lands on `clean`."""
    goal = torch.full((1, 8, 3), 0.25)

    def step(x, i, held):
        return (goal - x) / (1.0 - i / 4)

    result = sampling.EagerSampler(step, 4)(noise_of(3, batch=1), ())
    torch.testing.assert_close(result, goal)


def test_euler_steps_of_a_linear_field():
    """x' = -x has the Euler solution (1 - 1/n)^n."""
    sampler = sampling.EagerSampler(lambda x, i, held: -x, 10)
    start = noise_of(4)
    torch.testing.assert_close(sampler(start, ()), start * 0.9**10)


def test_without_cuda_the_graph_mode_falls_back_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(sampling, "_fallback_said", False)
    network = tiny_network()
    step, noise = ExpertStep(network.expert, 5), noise_of(0)
    held = held_of(network.prefix(observed(network, 1)))
    with caplog.at_level(logging.WARNING):
        made = [sampling.make_sampler("graph", step, 5, noise, held) for _ in range(2)]
    assert [s.mode for s in made] == ["eager", "eager"]
    assert len(caplog.records) == 1 and "no CUDA" in caplog.text
    torch.testing.assert_close(made[0](noise, held), made[1](noise, held))


@pytest.mark.parametrize(("mode", "steps"), [("compiled", 5), ("eager", 0)])
def test_refusals(mode: str, steps: int):
    with pytest.raises(
        ValueError, match="known: eager, traced, graph" if mode == "compiled" else "steps"
    ):
        sampling.make_sampler(mode, lambda x, i, held: x, steps, noise_of(0), ())


def test_traced_gives_eagers_numbers_for_two_inputs_in_a_row():
    network = tiny_network().requires_grad_(False)
    step = ExpertStep(network.expert, 5)
    held = held_of(network.prefix(observed(network, 0)))
    traced = sampling.make_sampler("traced", step, 5, noise_of(0), held)
    for seed in (1, 2):
        hidden, noise = observed(network, seed), noise_of(seed)
        result = traced(noise, held_of(network.prefix(hidden)))
        assert torch.equal(result, sampled(network, hidden, noise))
    with pytest.raises(ValueError, match="traced for"):
        traced(noise_of(1, batch=2), held)


def test_prefix_keys_and_values_are_those_of_each_layer():
    network = tiny_network()
    hidden = observed(network, 1)
    prefix: Prefix = network.prefix(hidden)
    assert len(prefix.keys) == len(prefix.values) == TINY.expert_layers
    key, value = network.expert.layers[1].keys_values(hidden)
    assert torch.equal(prefix.keys[1], key) and torch.equal(prefix.values[1], value)
    assert prefix.latent.shape == (1, TINY.width)
