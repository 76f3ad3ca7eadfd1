"""Packed weights against exact arithmetic, for weights of any size and shape."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salus_ros.policy.quantization.linear import grouped_linear
from salus_ros.policy.quantization.packing import (
    BITS,
    LARGEST,
    LEAST_WEIGHT,
    QuantizationError,
    codes_of,
    group_of,
    pack,
    unpack,
)

INPUTS = st.sampled_from([32, 64, 96, 128, 160, 256, 384])


@st.composite
def weights(draw):
    shape = draw(st.integers(1, 5)), draw(INPUTS)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(shape, generator=generator) * 10.0 ** draw(st.floats(-35, 35))
    weight[torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.5, 1.0]))] = 0.0
    return weight


@given(weights(), st.sampled_from(BITS))
def test_no_weight_is_off_by_more_than_half_its_scale(weight, bits):
    packed = pack(weight, bits)
    group = group_of(weight.shape[1])
    scale = packed.scales.double().repeat_interleave(group, 0).T
    off = (unpack(packed).double() - weight.double()).abs()
    assert bool((off <= scale / 2 * (1 + 1e-5) + LEAST_WEIGHT).all())
    assert -(2 ** (bits - 1)) <= int(codes_of(packed).min())
    assert int(codes_of(packed).max()) < 2 ** (bits - 1)


@given(weights(), st.sampled_from(BITS))
def test_a_scale_is_no_coarser_than_its_largest_weight_asks_for(weight, bits):
    packed = pack(weight, bits)
    grouped = weight.double().view(len(weight), *(-1, group_of(weight.shape[1])))
    finest = grouped.abs().amax(-1).T / LARGEST[bits]
    assert bool((packed.scales.double() <= finest * 1.01).all())


@given(weights(), st.sampled_from(BITS))
def test_packing_what_was_unpacked_changes_little_and_zero_stays_zero(weight, bits):
    once = unpack(pack(weight, bits))
    assert bool((once[weight == 0] == 0).all())
    again = pack(once, bits)
    off = (unpack(again) - once).abs().double()
    scale = again.scales.double().repeat_interleave(group_of(weight.shape[1]), 0).T
    assert bool((off <= scale / 2 * (1 + 1e-5) + LEAST_WEIGHT).all())


@given(weights(), st.sampled_from(BITS), st.integers(1, 4), st.integers(0, 99))
def test_the_product_is_that_with_the_dequantised_weight(weight, bits, rows, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, weight.shape[1], generator=generator)
    packed = pack(weight, bits)
    exact = x.double() @ unpack(packed).double().T
    most = x.double().abs() @ unpack(packed).double().abs().T
    off = (grouped_linear(x, *packed, None).double() - exact).abs()
    assert bool((off <= most * weight.shape[1] * 2.0**-22 + 1e-37).all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bad):
    weight = torch.zeros(2, 64)
    weight[1, 3] = bad
    with pytest.raises(QuantizationError, match="not finite"):
        pack(weight, 8)


def test_widths_that_do_not_divide_are_refused():
    with pytest.raises(QuantizationError, match="50 inputs don't divide into groups of 32"):
        pack(torch.zeros(2, 50), 4)
