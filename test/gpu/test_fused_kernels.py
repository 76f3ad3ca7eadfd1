"""Fused kernels on a GPU: what plain PyTorch computes, and exactly again when they are replayed."""

import pytest
import torch

from salus_ros.policy.cuda_graph import Captured
from salus_ros.policy.flow.checkpoint import load_checkpoint
from salus_ros.policy.flow.flow import ExpertStep, held_of
from salus_ros.policy.flow.prefix_graph import PrefixGraph
from salus_ros.policy.flow.reference import ReferenceExpert
from salus_ros.policy.flow.sampler import EagerSampler, GraphSampler
from salus_ros.policy.fused.layers import Norm, Weights, attend, fused, project

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
KINDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
STEPS = 10


def draw(*shape, kind=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to("cuda", kind)


def apart(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("normed", ["", "norm", "moved"])
@pytest.mark.parametrize("shape", [(50, 512, 1536), (64, 128, 384), (8, 32, 128), (3, 96, 33)])
def test_a_layer_is_what_its_formula_says(shape, normed, kind):
    rows, inputs, outputs = shape
    x, residual = draw(2, rows, inputs, kind=kind), draw(rows, outputs, kind=kind, seed=1)
    weights = Weights(draw(outputs, inputs, kind=kind, seed=2) / inputs**0.5,
                      draw(outputs, kind=kind, seed=3))  # fmt: skip
    norm = None
    if normed:
        scale, shift = draw(2, inputs, kind=kind, seed=4)
        norm = Norm(scale, shift, moved=normed == "moved")
    with torch.no_grad(), fused():
        found = project(weights, x, norm, silu=True, residual=residual)
    exact = Weights(weights.weight.double(), weights.bias.double())
    exact_norm = norm and Norm(norm.scale.double(), norm.shift.double(), norm.moved)
    expected = project(exact, x.double(), exact_norm, silu=True, residual=residual.double())
    assert apart(found, expected) < KINDS[kind]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", [(1, 8, 50, 50, 64), (8, 4, 8, 18, 32), (3, 2, 40, 256, 16)])
def test_attention_is_what_its_formula_says(shape, kind):
    batch, heads, queries, keys, size = shape
    query = draw(batch, queries, heads, size, kind=kind).transpose(1, 2)
    key, value = draw(2, keys, heads, size, kind=kind, seed=1).transpose(1, 2).split(1)
    with torch.no_grad(), fused():
        found = attend(query, key, value)
    expected = attend(query.double(), key.double(), value.double())
    assert apart(found, expected) < KINDS[kind]


def reference(kind):
    torch.manual_seed(0)
    model = ReferenceExpert().cuda().eval().requires_grad_(False).to(kind)
    return model.velocity, draw(1, 50, 32, kind=kind), model.held(draw(1, 256, 512, kind=kind))


def shipped(kind):
    network = load_checkpoint().network.cuda().requires_grad_(False).to(kind)
    held = held_of(network.prefix(draw(1, 18, network.config.width, kind=kind)))
    return ExpertStep(network.expert, STEPS), draw(8, 32, 8), held


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("case", [reference, shipped])
def test_a_fused_chunk_is_eagers_and_exactly_again_when_replayed(case, kind):
    step, noise, held = case(kind)
    with torch.no_grad():
        plain = EagerSampler(step, STEPS)
        expected = plain(noise, held)
        graph = GraphSampler(step, STEPS, noise, held)
        for seed in (5, 6):
            other = draw(*noise.shape, seed=seed).to(noise.dtype)
            with fused():
                alike = EagerSampler(step, STEPS)(other, held)
            assert torch.equal(graph(other, held), alike)
            assert not torch.equal(alike, plain(other, held)), "the kernels were not used"
        assert apart(graph(noise, held) - noise, (expected - noise).double()) < KINDS[kind]


def test_a_graph_goes_on_after_the_same_weights_took_more_rows():
    weights = Weights(draw(64, 2048), None)
    few, many = draw(50, 2048, seed=1), draw(3000, 2048, seed=2)
    with torch.no_grad(), fused():
        graph = Captured(lambda: project(weights, few))
        expected = project(weights, few)
        project(weights, many)
        # Counters that were let go of would be found again by one of these.
        kept = [torch.full((8,), 7, device="cuda", dtype=torch.int32) for _ in range(4096)]
        for _ in range(3):
            assert torch.equal(graph(), expected)
        assert all(bool((one == 7).all()) for one in kept[::64])


def test_a_captured_prefix_is_the_networks_own():
    network = load_checkpoint().network.cuda().requires_grad_(False)
    config = network.config
    inputs = [
        (torch.rand(1, 2, 3, config.image_size, config.image_size).cuda(),
         torch.randint(0, 9, (1, config.longest_instruction)).cuda(),
         draw(1, config.state_size, seed=seed))
        for seed in range(2)
    ]  # fmt: skip
    graph = PrefixGraph(network, *inputs[0])
    for given in inputs:
        with torch.no_grad():
            expected = network(*given)
        found = graph(*given)
        for ours, theirs in zip(held_of(found), held_of(expected), strict=True):
            assert apart(ours, theirs.double()) < 1e-4
        assert apart(found.latent, expected.latent.double()) < 1e-4
