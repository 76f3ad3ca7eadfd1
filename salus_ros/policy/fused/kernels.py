"""Triton kernels for a chunk's few rows: norm, product, activation and residual in one launch.

At batch 1 a flow step is some hundred kernels of a few microseconds each, and the gaps between
them cost as much as their work. Here a transformer layer with cross-attention is eight. A program
holds whole rows of its input where it has to norm them, so that nothing waits for another program.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from salus_ros.policy.fused.layers import key_block, shared_memory

ROWS = 16
"""Of a tile of outputs: the least that tensor cores take. A chunk has few rows, and all processors
want some."""
MANY = 1024
"""Outputs from which on tiles are wider and sums are not shared: there are programs enough."""
QUERIES = 16
MANY_KEYS = 128
WARPS = 4
STAGES, FEW_STAGES = 4, 2
ROOM = 160_000
"""Bytes of shared memory from which on so many stages find place."""


class Tiles(NamedTuple):
    """Of one type.

    columns, many_columns: of a tile, and where there are MANY outputs. inputs, normed_inputs: that
    are read at once, the latter where there is a norm. split: inputs of one program at most: a
    long sum is shared by several. key_warps: of attention to MANY_KEYS and more.
    """

    columns: int
    many_columns: int
    inputs: int
    normed_inputs: int
    split: int
    key_warps: int


_FULL = Tiles(columns=32, many_columns=64, inputs=128, normed_inputs=128, split=256, key_warps=8)
_HALF = Tiles(columns=32, many_columns=64, inputs=128, normed_inputs=256, split=512, key_warps=8)
TILES = {torch.float32: _FULL, torch.bfloat16: _HALF, torch.float16: _HALF}

_meetings = WeakTensorKeyDictionary()
"""By weight: how many programs have come to each of its tiles; zero between launches."""


@triton.jit  # type: ignore[untyped-decorator]
def _statistics(  # type: ignore[no-untyped-def]
    x, row, rows, epsilon, INPUTS: tl.constexpr, BLOCK_ROWS: tl.constexpr,
    BLOCK_INPUTS: tl.constexpr,
):  # fmt: skip
    """Mean and standard deviation of whole rows, [BLOCK_ROWS, 1] each."""
    sums = tl.zeros((BLOCK_ROWS, BLOCK_INPUTS), tl.float32)
    for start in range(0, INPUTS, BLOCK_INPUTS):
        k = start + tl.arange(0, BLOCK_INPUTS)
        there = (row < rows)[:, None] & (k < INPUTS)[None, :]
        sums += tl.load(x + row[:, None] * INPUTS + k[None, :], mask=there, other=0.0)
    mean = (tl.sum(sums, 1) / INPUTS)[:, None]
    squares = tl.zeros((BLOCK_ROWS, BLOCK_INPUTS), tl.float32)
    for start in range(0, INPUTS, BLOCK_INPUTS):
        k = start + tl.arange(0, BLOCK_INPUTS)
        there = (row < rows)[:, None] & (k < INPUTS)[None, :]
        off = tl.load(x + row[:, None] * INPUTS + k[None, :], mask=there, other=0.0) - mean
        squares += tl.where(there, off * off, 0.0)
    return mean, tl.sqrt(tl.sum(squares, 1) / INPUTS + epsilon)[:, None]


@triton.jit  # type: ignore[untyped-decorator]
def _project_kernel(  # type: ignore[no-untyped-def]
    x, weight, bias, scale, shift, residual, out, parts, meetings, rows, residual_rows, epsilon,
    INPUTS: tl.constexpr, OUTPUTS: tl.constexpr, SPLITS: tl.constexpr, HAS_BIAS: tl.constexpr,
    NORM: tl.constexpr, OFFSET: tl.constexpr, SILU: tl.constexpr, HAS_RESIDUAL: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_INPUTS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    column = tl.program_id(1) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    row_there, column_there = row[:, None] < rows, column[None, :] < OUTPUTS
    if NORM:  # each program for itself: none has to wait for another
        mean, deviation = _statistics(x, row, rows, epsilon, INPUTS, BLOCK_ROWS, BLOCK_INPUTS)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
    share: tl.constexpr = INPUTS // SPLITS
    for start in range(0, share, BLOCK_INPUTS):
        k = tl.program_id(2) * share + start + tl.arange(0, BLOCK_INPUTS)
        there = k < INPUTS
        at = column[None, :] * INPUTS + k[:, None]
        w = tl.load(weight + at, mask=column_there & there[:, None], other=0.0)
        at = row[:, None] * INPUTS + k[None, :]
        part = tl.load(x + at, mask=row_there & there[None, :], other=0.0)
        if NORM:
            gain = tl.load(scale + k, mask=there, other=0.0).to(tl.float32) + OFFSET
            move = tl.load(shift + k, mask=there, other=0.0).to(tl.float32)
            normed = (part.to(tl.float32) - mean) / deviation
            part = (normed * gain[None, :] + move[None, :]).to(w.dtype)
        total = tl.dot(part, w, total, input_precision=PRECISION)
    there = row_there & column_there
    if SPLITS > 1:  # the last to come adds up all parts, in their order: always the same sum
        size = rows * OUTPUTS
        at = row[:, None] * OUTPUTS + column[None, :]
        tl.store(parts + tl.program_id(2) * size + at, total, mask=there)
        tl.debug_barrier()
        meeting = meetings + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
        if tl.atomic_add(meeting, 1, sem="acq_rel", scope="gpu") < SPLITS - 1:
            return
        tl.atomic_xchg(meeting, 0, sem="relaxed", scope="gpu")
        total = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), tl.float32)
        for part_number in range(SPLITS):
            place = parts + part_number * size + at
            total += tl.load(place, mask=there, other=0.0, cache_modifier=".cg")
    if HAS_BIAS:
        total += tl.load(bias + column, mask=column < OUTPUTS, other=0.0).to(tl.float32)[None, :]
    if SILU:
        total = total / (1.0 + tl.exp(-total))
    if HAS_RESIDUAL:
        at = (row % residual_rows)[:, None] * OUTPUTS + column[None, :]
        total += tl.load(residual + at, mask=there, other=0.0).to(tl.float32)
    tl.store(out + row[:, None] * OUTPUTS + column[None, :], total, mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def _attend_kernel(  # type: ignore[no-untyped-def]
    query, key, value, out, heads, queries, keys, factor,
    query_batch, query_head, query_row, key_batch, key_head, key_row,
    value_batch, value_head, value_row,
    SIZE: tl.constexpr, BLOCK_QUERIES: tl.constexpr, BLOCK_KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    batch, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    row = tl.program_id(1) * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    column, size = tl.arange(0, BLOCK_KEYS), tl.arange(0, SIZE)
    row_there, column_there = row[:, None] < queries, column < keys
    at = batch * query_batch + head * query_head + row[:, None] * query_row + size[None, :]
    q = tl.load(query + at, mask=row_there, other=0.0)
    at = batch * key_batch + head * key_head + column[None, :] * key_row + size[:, None]
    k = tl.load(key + at, mask=column_there[None, :], other=0.0)
    at = batch * value_batch + head * value_head + column[:, None] * value_row + size[None, :]
    v = tl.load(value + at, mask=column_there[:, None], other=0.0)
    scores = tl.dot(q, k, input_precision=PRECISION) * factor
    scores = tl.where(column_there[None, :], scores, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    seen = tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
    seen = seen / tl.sum(weights, 1)[:, None]
    at = (batch * queries + row[:, None]) * heads * SIZE + head * SIZE + size[None, :]
    tl.store(out + at, seen, mask=row_there)


def project(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    norm: tuple[Tensor, Tensor, float, float] | None = None,
    silu: bool = False,
    residual: Tensor | None = None,
) -> Tensor:
    """residual + silu(normed x @ weight.T + bias): x [..., in], weight [out, in], [..., out].

    norm: scale [in], shift [in], what is added to the scale, epsilon. residual: [..., out] with as
    many rows as x, or a part that repeats.
    """
    outputs, inputs = weight.shape
    given = x.reshape(-1, inputs).contiguous()
    rows = len(given)
    out = torch.empty(rows, outputs, device=x.device, dtype=x.dtype)
    added = out if residual is None else residual.reshape(-1, outputs).contiguous()
    scale, shift, offset, epsilon = norm or (out, out, 0.0, 0.0)
    tiles = TILES[x.dtype]
    columns = tiles.many_columns if outputs >= MANY else tiles.columns
    splits = 1 if outputs >= MANY or inputs % tiles.split else inputs // tiles.split
    together = tiles.normed_inputs if norm else tiles.inputs
    grid = triton.cdiv(rows, ROWS), triton.cdiv(outputs, columns), splits
    parts, meetings = out, out
    if splits > 1:
        parts = torch.empty(splits, rows, outputs, device=x.device)
        meetings = _meetings_of(weight, grid[0] * grid[1])
    _project_kernel[grid](
        given, weight, out if bias is None else bias, scale, shift, added, out, parts, meetings,
        rows, len(added), epsilon, INPUTS=inputs, OUTPUTS=outputs, SPLITS=splits,
        HAS_BIAS=bias is not None, NORM=norm is not None, OFFSET=offset, SILU=silu,
        HAS_RESIDUAL=residual is not None, BLOCK_ROWS=ROWS, BLOCK_COLUMNS=columns,
        BLOCK_INPUTS=min(triton.next_power_of_2(inputs), together), PRECISION=_precision(x),
        num_warps=WARPS, num_stages=_stages(x.device),
    )  # fmt: skip
    return out.view(*x.shape[:-1], outputs)


def _stages(device: torch.device) -> int:
    plenty = device.type == "cuda" and shared_memory(device) >= ROOM
    return STAGES if plenty else FEW_STAGES


def _meetings_of(weight: Tensor, tiles: int) -> Tensor:
    """Counters of a weight's own: layers that run side by side never meet in one.

    Shorter ones stay where longer ones are needed: a captured graph counts in them.
    """
    known: list[Tensor] = _meetings.setdefault(weight, [])
    for counters in known:
        if len(counters) >= tiles:
            return counters
    known.append(torch.zeros(tiles, dtype=torch.int32, device=weight.device))
    return known[-1]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of [batch, heads, tokens, size]: [batch, tokens, heads * size].

    The last axis lies dense. key, value: of at most MOST_KEYS tokens; a batch of 1 serves all.
    """
    batch, heads, queries, size = query.shape
    keys = key.shape[2]
    out = torch.empty(batch, queries, heads * size, device=query.device, dtype=query.dtype)
    shared = [0 if len(t) == 1 else t.stride(0) for t in (key, value)]
    block = key_block(keys)
    warps = TILES[query.dtype].key_warps if block >= MANY_KEYS else WARPS
    _attend_kernel[batch * heads, triton.cdiv(queries, QUERIES)](
        query, key, value, out, heads, queries, keys, size**-0.5,
        *query.stride()[:3], shared[0], *key.stride()[1:3], shared[1], *value.stride()[1:3],
        SIZE=size, BLOCK_QUERIES=QUERIES, BLOCK_KEYS=block,
        PRECISION=_precision(query), num_warps=warps,
    )  # fmt: skip
    return out


def _precision(x: Tensor) -> str:
    """Of products of float32: three of TensorFloat-32, together as exact as float32's own."""
    return "tf32x3" if x.dtype == torch.float32 else "tf32"
