"""Triton kernels: activations times weights of 8 or 4 bits.

One program makes a tile of outputs. For each group of inputs it multiplies activations by plain
codes, which bfloat16 holds exactly, and applies the group's scale to the sum in float32. So no
rounding comes between the packed weight and the product, and a CPU does the same sums
(`linear.grouped_linear`).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = (16, 32, 64)
"""Heights of a tile: 16 is the least that tensor cores take."""
COLUMNS = 32
"""Narrow tiles: a policy has few rows, so that only columns are left to fill the processors."""


@triton.jit  # type: ignore[untyped-decorator]
def _int8_kernel(  # type: ignore[no-untyped-def]
    x, codes, scales, bias, out, rows, columns,
    INPUTS: tl.constexpr, GROUP: tl.constexpr, HAS_BIAS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    column = tl.program_id(1) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    k = tl.arange(0, GROUP)
    row_there, column_there = row < rows, column < columns
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for group in range(INPUTS // GROUP):
        at = row[:, None] * INPUTS + group * GROUP + k[None, :]
        part = tl.load(x + at, mask=row_there[:, None], other=0.0)
        at = (group * columns + column)[None, :].to(tl.int64) * GROUP + k[:, None]
        code = tl.load(codes + at, mask=column_there[None, :], other=0)
        scale = tl.load(scales + group * columns + column, mask=column_there, other=0.0)
        product = tl.dot(part, code.to(part.dtype), input_precision="ieee")
        total += product * scale.to(tl.float32)[None, :]
    if HAS_BIAS:
        total += tl.load(bias + column, mask=column_there, other=0.0).to(tl.float32)[None, :]
    there = row_there[:, None] & column_there[None, :]
    tl.store(out + row[:, None] * columns + column[None, :], total, mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def _int4_kernel(  # type: ignore[no-untyped-def]
    x, codes, scales, bias, out, rows, columns,
    INPUTS: tl.constexpr, GROUP: tl.constexpr, HAS_BIAS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
):  # fmt: skip
    HALF: tl.constexpr = GROUP // 2
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    column = tl.program_id(1) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    k = tl.arange(0, HALF)
    row_there, column_there = row < rows, column < columns
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    for group in range(INPUTS // GROUP):
        at = row[:, None] * INPUTS + group * GROUP + k[None, :]
        first = tl.load(x + at, mask=row_there[:, None], other=0.0)
        second = tl.load(x + at + HALF, mask=row_there[:, None], other=0.0)
        at = (group * columns + column)[None, :].to(tl.int64) * HALF + k[:, None]
        pair = tl.load(codes + at, mask=column_there[None, :], other=0x88).to(tl.int32)
        low, high = (pair & 15) - 8, (pair >> 4) - 8
        scale = tl.load(scales + group * columns + column, mask=column_there, other=0.0)
        product = tl.dot(first, low.to(first.dtype), input_precision="ieee")
        product += tl.dot(second, high.to(second.dtype), input_precision="ieee")
        total += product * scale.to(tl.float32)[None, :]
    if HAS_BIAS:
        total += tl.load(bias + column, mask=column_there, other=0.0).to(tl.float32)[None, :]
    there = row_there[:, None] & column_there[None, :]
    tl.store(out + row[:, None] * columns + column[None, :], total, mask=there)


def low_bit_matmul(x: Tensor, codes: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., in] times the weight of `Packed(codes, scales)`, plus bias [out]: [..., out].

    x: float32, bfloat16 or float16; the result has its type.
    """
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    count, inputs = rows.shape
    outputs = codes.shape[1]
    out = torch.empty(count, outputs, device=x.device, dtype=x.dtype)
    height = next((size for size in ROWS if count <= size), ROWS[-1])
    grid = (triton.cdiv(count, height), triton.cdiv(outputs, COLUMNS))
    kernel = _int8_kernel if codes.dtype == torch.int8 else _int4_kernel
    kernel[grid](
        rows, codes, scales, rows if bias is None else bias, out, count, outputs,
        INPUTS=inputs, GROUP=inputs // len(codes), HAS_BIAS=bias is not None,
        BLOCK_ROWS=height, BLOCK_COLUMNS=COLUMNS,
    )  # fmt: skip
    return out.view(*x.shape[:-1], outputs)
