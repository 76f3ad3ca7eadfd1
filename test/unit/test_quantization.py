"""Low-bit layers inside modules: what they compute, take up, and refuse."""

import copy
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from salus_ros.policy.flow.sampler import traced
from salus_ros.policy.quantization.linear import LowBitLinear
from salus_ros.policy.quantization.packing import QuantizationError, unpack
from salus_ros.policy.quantization.precision import (
    PRECISIONS,
    compute_type,
    make_exact,
    set_precision,
    weight_bytes,
)

CPU = torch.device("cpu")
HERE = Path(__file__).parent
LOW_BIT = tuple(p for p in PRECISIONS if p.startswith("int"))


@pytest.fixture
def module():
    torch.manual_seed(0)
    layers = nn.Linear(128, 256), nn.SiLU(), nn.Linear(256, 128), nn.Linear(128, 7)
    return nn.Sequential(*layers).eval().requires_grad_(False)


def needs(precision):
    if precision.endswith("torchao"):
        pytest.importorskip("torchao")


@pytest.mark.filterwarnings("ignore:Models quantized with version 1")  # in deepcopy
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_kernel_computes_what_its_weights_say(module, precision):
    needs(precision)
    set_precision(module, precision)
    exact = copy.deepcopy(module)
    make_exact(exact)
    kind = compute_type(precision, CPU)
    x = torch.randn(3, 9, 128)
    expected = exact(x)
    found = module(x.to(kind)).float()
    bound = 0.03 if kind == torch.bfloat16 else 1e-5
    assert float((found - expected).abs().max() / expected.abs().max()) < bound


@pytest.mark.parametrize(("precision", "least"), [("int8", 1.8), ("int4", 3.2)])
def test_low_bits_take_up_less_than_bfloat16(module, precision, least):
    other = copy.deepcopy(module)
    set_precision(module, precision)
    set_precision(other, "bfloat16")
    assert weight_bytes(other) / weight_bytes(module) > least


def test_torchao_weights_are_counted_as_they_are_stored(module):
    pytest.importorskip("torchao")
    whole = weight_bytes(module)
    set_precision(module, "int8-torchao")
    assert whole / weight_bytes(module) > 3.0


def test_bytes_shared_by_two_layers_count_once(module):
    module[3].weight = nn.Parameter(module[3].weight.detach())
    twice = nn.Sequential(module, module)
    assert weight_bytes(twice) == weight_bytes(module)


def test_narrow_layers_stay_as_they_are(module):
    set_precision(module, "int4")
    assert type(module[3]) is nn.Linear
    assert isinstance(module[0], LowBitLinear)


def test_guidance_differentiates_through_low_bit_layers():
    torch.manual_seed(1)
    layer = LowBitLinear(nn.Linear(64, 96).requires_grad_(False), 4)
    x = torch.randn(5, 64, requires_grad=True)
    seen = torch.randn(5, 96)
    (gradient,) = torch.autograd.grad(layer(x), x, seen)
    assert torch.allclose(gradient, seen @ unpack(layer.packed), atol=1e-5)


def test_a_trace_keeps_the_weights_packed():
    """A trace of plain operations would fold codes and scales into a float32 weight."""
    layer = LowBitLinear(nn.Linear(64, 96).requires_grad_(False), 8)
    x = torch.randn(5, 64)
    run = traced(layer, (x,))
    with torch.no_grad():
        for _ in range(3):
            assert torch.equal(run(x), layer(x))
    assert "low_bit_linear" in str(run.graph)


def test_refusals(module):
    with pytest.raises(QuantizationError, match="'int3' is unknown; known: float32"):
        set_precision(module, "int3")
    with pytest.raises(QuantizationError, match="nothing to quantise"):
        set_precision(nn.Sequential(nn.Linear(8, 8)), "int8")
    module[0].weight[0, 0] = float("nan")
    with pytest.raises(QuantizationError, match="not finite"):
        set_precision(module, "int4")


def test_triton_kernels_agree_with_the_cpu_path():
    """The kernels' own source, in Triton's interpreter."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    script = [sys.executable, str(HERE / "triton_interpreted.py")]
    result = subprocess.run(script, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    for *case, off in json.loads(result.stdout):
        assert off < 1e-6, case
