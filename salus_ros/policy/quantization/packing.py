"""Low-bit weights with a scale per group of inputs, symmetric around zero.

A weight [out, in] is cut along its inputs into groups of up to 128. Each group of each output has
one scale, and codes of 8 bits (-128 to 127) or 4 bits (-8 to 7); weight = code * scale. The largest
weight is 7.5 (127.5) scales, so all 16 codes are of use, a positive one of that size is off by the
half scale that any may be, and zero stays zero. Codes lie group by group, since both kernels
multiply one group at a time and apply its scale to the sum.
Two codes of 4 bits share a byte: the low half holds the group's first half of inputs, the high
half its second, each plus 8. So a kernel needs no interleaving.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BITS = (8, 4)
LARGEST = {8: 127.5, 4: 7.5}
"""Of a group's weights, in units of its scale."""
GROUPS = (128, 64, 32)
"""Sizes of a group; the largest that divides the inputs is used."""
ROUND_UP = 1.0 + 2.0**-8
"""Half a unit in bfloat16's last place: a scale rounded after this is no smaller than before."""
LEAST_WEIGHT = 1e-30
"""A group of smaller weights counts as zero, whose scale bfloat16 could not hold exactly."""


class QuantizationError(ValueError):
    """These weights can't be quantised so; one line says why."""


class Packed(NamedTuple):
    """A quantised weight [out, in].

    codes: int8 [groups, out, group] or uint8 [groups, out, group / 2]. scales: bfloat16
    [groups, out].
    """

    codes: Tensor
    scales: Tensor

    @property
    def bits(self) -> int:
        """Of a code."""
        return 8 if self.codes.dtype == torch.int8 else 4


def group_of(inputs: int) -> int:
    """Inputs that share a scale. Raises QuantizationError where no group size divides them."""
    for group in GROUPS:
        if inputs % group == 0:
            return group
    raise QuantizationError(f"{inputs} inputs don't divide into groups of {GROUPS[-1]}")


def pack(weight: Tensor, bits: int) -> Packed:
    """Quantise a weight [out, in]; no weight is off by more than half its group's scale.

    Raises QuantizationError for numbers that are not finite and widths that don't divide.
    """
    if bits not in BITS:
        raise QuantizationError(f"{bits} bits: 8 and 4 are known")
    if not bool(torch.isfinite(weight).all()):
        raise QuantizationError("the weight holds numbers that are not finite")
    group, largest = group_of(weight.shape[1]), LARGEST[bits]
    grouped = weight.float().view(len(weight), -1, group).transpose(0, 1)
    size = grouped.abs().amax(-1)
    scales = torch.where(size < LEAST_WEIGHT, 0.0, size / largest * ROUND_UP).bfloat16()
    steps = torch.where(scales == 0, 1.0, scales.float())
    codes = torch.where(scales[..., None] == 0, 0.0, grouped / steps[..., None])
    codes = codes.round().clamp(-largest - 0.5, largest - 0.5).to(torch.int8)
    return Packed((codes if bits == 8 else _paired(codes)).contiguous(), scales.contiguous())


def _paired(codes: Tensor) -> Tensor:
    low, high = (codes + 8).to(torch.uint8).chunk(2, -1)
    return low | (high << 4)


def codes_of(packed: Packed) -> Tensor:
    """Plain codes [groups, out, group], int8."""
    codes = packed.codes
    if packed.bits == 8:
        return codes
    return torch.cat([codes & 15, codes >> 4], -1).to(torch.int8) - 8


def unpack(packed: Packed) -> Tensor:
    """The weight that the codes stand for [out, in], float32."""
    grouped = codes_of(packed).float() * packed.scales.float()[..., None]
    return grouped.transpose(0, 1).flatten(1).contiguous()
