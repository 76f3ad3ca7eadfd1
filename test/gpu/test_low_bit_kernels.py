"""The Triton kernels on a GPU, against the same sums on a CPU; skips where there is no CUDA."""

import copy

import pytest
import torch
from torch import nn

from salus_ros.policy.flow.reference import ReferenceExpert
from salus_ros.policy.flow.sampler import EagerSampler, GraphSampler
from salus_ros.policy.quantization.linear import LowBitLinear, grouped_linear
from salus_ros.policy.quantization.packing import pack
from salus_ros.policy.quantization.precision import make_exact, set_precision

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
KINDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", [(1, 128, 64), (50, 512, 2048), (64, 96, 33), (300, 2048, 512)])
def test_the_kernel_agrees_with_the_cpu(bits, shape, kind):
    rows, inputs, outputs = shape
    packed = pack(torch.randn(outputs, inputs), bits)
    x, bias = torch.randn(rows, inputs).to(kind), torch.randn(outputs)
    expected = grouped_linear(x.float(), *packed, bias)
    given = [t.cuda() for t in (x, *packed, bias)]
    found = torch.ops.salus.low_bit_linear(*given).float().cpu()
    assert float((found - expected).abs().max() / expected.abs().max()) < KINDS[kind]


@pytest.mark.parametrize("precision", ["int8", "int4", "int8-torchao", "int4-torchao"])
def test_a_captured_expert_computes_what_its_weights_say(precision):
    if precision.endswith("torchao"):
        pytest.importorskip("torchao")
    torch.manual_seed(0)
    model = ReferenceExpert().cuda().eval().requires_grad_(False)
    set_precision(model, precision)
    exact = copy.deepcopy(model)
    make_exact(exact)
    prefix, noise = torch.randn(1, 256, 512).cuda(), torch.randn(1, 50, 32).cuda()
    with torch.no_grad():
        expected = EagerSampler(exact.velocity, 10)(noise, exact.held(prefix)) - noise
        low = noise.bfloat16()
        held = model.held(prefix.bfloat16())
        found = GraphSampler(model.velocity, 10, low, held)(low, held).float() - noise
    assert float((found - expected).norm() / expected.norm()) < 0.03


def test_the_kernel_can_be_captured_and_replayed():
    layer = LowBitLinear(nn.Linear(256, 512).cuda().requires_grad_(False), 4)
    x = torch.randn(8, 256, device="cuda", dtype=torch.bfloat16)
    layer(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = layer(x)
    for seed in range(2):
        x.copy_(torch.randn(8, 256, generator=torch.Generator().manual_seed(seed)))
        graph.replay()
        assert torch.equal(result, layer(x))
