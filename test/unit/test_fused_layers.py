"""Fused layers: the kernels' sums in Triton's interpreter, and plain PyTorch elsewhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from salus_ros.policy.fused import layers  # noqa: E402
from salus_ros.policy.fused.layers import (  # noqa: E402
    Norm,
    Weights,
    attend,
    fused,
    norm_of,
    project,
)

HERE = Path(__file__).parent


def test_the_kernels_compute_what_the_plain_layers_do():
    pytest.importorskip("triton", reason="needs Triton, which comes with PyTorch's CUDA wheels")
    script = [sys.executable, str(HERE / "fused_interpreted.py")]
    result = subprocess.run(script, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    for *case, off in json.loads(result.stdout):
        assert off < 1e-5, case


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_layer_is_norm_product_activation_and_residual():
    linear, norm = nn.Linear(24, 40), nn.LayerNorm(24)
    nn.init.normal_(norm.weight)
    x, residual = draw(3, 5, 24), draw(5, 40, seed=1)
    expected = residual + functional.silu(linear(norm(x)))
    for where in (fused(), fused(on=False)):
        with where:  # on a CPU both are plain
            found = project(linear, x, norm_of(norm), silu=True, residual=residual)
        assert torch.equal(found, expected)
    given = Weights(linear.weight, linear.bias)
    found = project(given, x, norm_of(norm), silu=True, residual=residual)
    assert torch.equal(found, expected)


def test_a_moved_norm_is_scaled_by_one_and_its_scale():
    x, scale, shift = draw(2, 5, 24), draw(2, 1, 24, seed=1), draw(2, 1, 24, seed=2)
    plain = functional.layer_norm(x, (24,))
    found = Norm(scale, shift, moved=True).of(x)
    assert torch.allclose(found, plain * (1 + scale) + shift)


def test_dropout_comes_before_the_residual():
    linear, dropout, x = nn.Linear(8, 8), nn.Dropout(0.5), draw(64, 8)
    found = project(linear, x, residual=torch.full((64, 8), 7.0), dropout=dropout.train())
    assert 0.3 < float((found == 7.0).float().mean()) < 0.7
    assert torch.equal(project(linear, x, dropout=dropout.eval()), linear(x))


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((24,), True), ((5, 24), True), ((3, 5, 24), True), ((3, 1, 24), False), ((5, 1), False)],
)
def test_a_residual_must_have_rows_and_outputs_of_the_kernels(shape, fits):
    assert layers._repeats(draw(*shape), draw(3, 5, 8), 24) is fits
    assert not layers._repeats(draw(*shape).half(), draw(3, 5, 8), 24)
    assert not layers._repeats(draw(*shape).requires_grad_(), draw(3, 5, 8), 24)


def test_a_norm_must_be_the_same_for_all_rows():
    x = draw(3, 5, 8)
    assert layers._norm_fits(Norm(draw(1, 1, 8), draw(1, 1, 8), moved=True), x)
    assert not layers._norm_fits(Norm(draw(3, 1, 8), draw(3, 1, 8), moved=True), x)
    assert not layers._norm_fits(norm_of(nn.LayerNorm(8)), x), "its weights want gradients"


def test_attention_must_find_place():
    query, key = draw(2, 4, 5, 64), draw(1, 4, 200, 64)
    plenty, little = 232_448, 101_376
    assert layers._attention_fits(query, key, key, plenty)
    assert not layers._attention_fits(query, key, key, little)
    half = [t.half() for t in (query, key, key)]
    assert layers._attention_fits(*half, little)
    assert not layers._attention_fits(query, key.expand(3, -1, -1, -1), key, plenty)
    assert not layers._attention_fits(query, draw(1, 4, 300, 64), draw(1, 4, 300, 64), plenty)
    assert not layers._attention_fits(query.transpose(2, 3), key, key, plenty)


def test_attention_is_softmax_attention_for_a_shared_key_batch():
    query, key, value = draw(3, 2, 5, 8), draw(1, 2, 7, 8, seed=1), draw(1, 2, 7, 8, seed=2)
    pairs = key.expand(3, -1, -1, -1), value.expand(3, -1, -1, -1)
    expected = functional.scaled_dot_product_attention(query, *pairs)
    found = attend(query, key, value)
    assert torch.allclose(found, expected.transpose(1, 2).flatten(2), atol=1e-6)
