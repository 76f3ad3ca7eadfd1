"""Runs the fused kernels in Triton's interpreter, on a CPU, and prints how far they are off.

A process of its own: the interpreter is chosen where Triton is imported.
"""

import json
import os

os.environ["TRITON_INTERPRET"] = "1"

import torch

from salus_ros.policy.fused import kernels
from salus_ros.policy.fused.layers import Norm, Weights, attend, project

LAYERS = [(50, 512, 96), (3, 96, 33), (50, 2048, 40), (7, 720, 20), (4, 32, 1024), (1, 256, 16)]
"""Rows, inputs, outputs: sums shared by several programs or not, tiles that are not full."""
HEADS = [(1, 8, 50, 50, 64, 1), (8, 4, 8, 18, 32, 1), (8, 4, 8, 8, 32, 8), (2, 2, 20, 256, 16, 1)]
"""Batch, heads, queries, keys, size, batch of the keys."""


def apart(found, expected):
    return float((found - expected).norm() / expected.norm())


def of_layer(rows, inputs, outputs, norm):
    draw = torch.Generator().manual_seed(rows + inputs)
    x = 3.0 + torch.randn(2, rows, inputs, generator=draw)
    bias = None if rows == 3 else torch.randn(outputs, generator=draw)
    weights = Weights(torch.randn(outputs, inputs, generator=draw) / inputs**0.5, bias)
    residual = torch.randn(rows, outputs, generator=draw)  # for both of the batch
    if norm:
        norm = Norm(*torch.randn(2, inputs, generator=draw), moved=norm == "moved")
    expected = project(weights, x, norm or None, silu=True, residual=residual)
    numbers = norm.numbers() if norm else None
    found = [kernels.project(x, *weights, numbers, True, residual) for _ in range(2)]
    assert torch.equal(*found), "a second launch finds the counters of the first"
    return apart(found[0], expected)


def of_attention(batch, heads, queries, keys, size, shared):
    draw = torch.Generator().manual_seed(queries)
    query = torch.randn(batch, queries, heads, size, generator=draw).transpose(1, 2)
    pair = torch.randn(shared, keys, 2, heads, size, generator=draw).permute(2, 0, 3, 1, 4)
    return apart(kernels.attend(query, *pair), attend(query, *pair))


def counters_stay(weight):
    """A graph that was captured with them goes on to use them."""
    few = kernels._meetings_of(weight, 4)
    assert kernels._meetings_of(weight, 400) is not few
    return kernels._meetings_of(weight, 4) is few


assert counters_stay(torch.zeros(2, 2)), "counters were replaced"
found = [[*case, norm, of_layer(*case, norm)] for case in LAYERS for norm in ("", "norm", "moved")]
print(json.dumps(found + [[*case, of_attention(*case)] for case in HEADS]))
