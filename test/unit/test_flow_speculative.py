"""Drafts: accepted where the full sampler agrees, and all steps where it doesn't."""

import pytest
import torch
from flow_policies import observation, saved, tiny_checkpoint

from salus_ros.policy.backend import Guidance
from salus_ros.policy.flow.backend import FlowBackend
from salus_ros.policy.flow.flow import ExpertStep, held_of
from salus_ros.policy.flow.sampler import EagerSampler
from salus_ros.policy.flow.speculative import TOLERANCE, make_speculative

STEPS = 10


class Straight:
    """A flow whose velocity is constant: one step is as good as ten."""

    def __call__(self, x, i, held):
        return held[0].expand_as(x)

    def at_all_steps(self, x, i, held):
        return held[0].expand_as(x)


class Bent(Straight):
    """It turns with time: few steps miss the end."""

    def __init__(self, steps):
        self.times = torch.arange(steps)[:, None, None] / steps

    def __call__(self, x, i, held):
        return held[0] * torch.cos(6.0 * self.times[i]) * torch.ones_like(x)

    def at_all_steps(self, x, i, held):
        return held[0] * torch.cos(6.0 * self.times) * torch.ones_like(x)


@pytest.fixture
def example():
    torch.manual_seed(0)
    return torch.randn(3, 4, 2), torch.full((1, 1, 1), 2.0)


def test_a_straight_flow_is_drafted(example):
    sampler = make_speculative("eager", Straight(), Straight(), (STEPS, 1), example)
    noise, held = example
    assert torch.allclose(sampler(noise, (held,)), noise + 2.0)
    assert (sampler.accepted, sampler.drafted) == (1, 1)


def test_a_bent_flow_takes_all_steps(example):
    sampler = make_speculative("eager", Bent(STEPS), Bent(2), (STEPS, 2), example)
    noise, held = example
    full = EagerSampler(Bent(STEPS), STEPS)(noise, (held,))
    assert torch.equal(sampler(noise, (held,)), full)
    assert (sampler.accepted, sampler.drafted) == (0, 1)


def test_the_sweep_sees_what_single_steps_see():
    """All steps at once, against one by one, on the real expert."""
    network = tiny_checkpoint().network
    step = ExpertStep(network.expert, STEPS)
    held = held_of(network.prefix(torch.randn(1, 5, network.config.width)))
    points = torch.randn(STEPS, network.config.rows, network.config.dims)
    with torch.no_grad():
        at_once = step.at_all_steps(points, 0, held)
        singly = torch.cat([step(points[i : i + 1], i, held) for i in range(STEPS)])
    assert torch.allclose(at_once, singly, atol=1e-4)


@pytest.mark.parametrize("sampler", ["eager", "traced"])
def test_an_accepted_chunk_is_within_tolerance_of_the_full_one(tmp_path, sampler):
    folder = saved(tmp_path)
    full = FlowBackend(checkpoint=folder, device="cpu", sampler="eager")
    drafting = FlowBackend(checkpoint=folder, device="cpu", sampler=sampler, draft_steps=3)
    for seed in range(3):
        for backend in (full, drafting):
            backend.reset()
        expected = full.predict(observation(seed=seed)).actions
        found = drafting.predict(observation(seed=seed)).actions
        start = expected[:1]
        off = ((found - expected) ** 2).sum() / ((expected - start) ** 2).sum()
        assert off**0.5 < 3 * TOLERANCE
    accepted, drafted = drafting.drafts
    assert drafted == 3
    assert 0 <= accepted <= 3


def test_a_guided_chunk_takes_all_steps(tmp_path):
    import numpy as np

    backend = FlowBackend(checkpoint=saved(tmp_path), device="cpu", draft_steps=2)
    backend.predict(observation())
    before = backend.drafts[1]
    guidance = Guidance(np.tile(backend.predict(observation()).actions[:1], (4, 1)), np.ones(4), 2)
    backend.predict_guided(observation(), guidance)
    assert backend.drafts[1] <= before + 2


@pytest.mark.parametrize("steps", [10, 11])
def test_a_draft_of_no_fewer_steps_is_refused(tmp_path, steps):
    with pytest.raises(ValueError, match=f"draft_steps is {steps}"):
        FlowBackend(checkpoint=saved(tmp_path), device="cpu", draft_steps=steps)


@pytest.mark.parametrize("precision", ["bfloat16", "int8", "int4"])
@pytest.mark.parametrize("sampler", ["eager", "traced"])
def test_a_policy_of_any_precision_makes_nearly_the_same_chunks(tmp_path, precision, sampler):
    folder = saved(tmp_path, width=64, mlp_width=64, expert_mlp_width=64)
    full = FlowBackend(checkpoint=folder, device="cpu").predict(observation()).actions
    backend = FlowBackend(checkpoint=folder, device="cpu", precision=precision, sampler=sampler)
    backend.warm_up()
    found = backend.predict(observation()).actions
    assert abs(found - full).max() < 0.3 * abs(full - full[:1]).max()
    backend.make_exact()
    exact = backend.predict(observation()).actions
    assert abs(found - exact).max() < 0.1 * abs(full - full[:1]).max()


def test_an_unknown_precision_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'int3' is unknown"):
        FlowBackend(checkpoint=saved(tmp_path), device="cpu", precision="int3")
