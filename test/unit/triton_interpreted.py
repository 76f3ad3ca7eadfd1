"""Runs the Triton kernels in Triton's interpreter, on a CPU, and prints how far they are off.

A process of its own: the interpreter is chosen where Triton is imported.
"""

import json
import os

os.environ["TRITON_INTERPRET"] = "1"

import torch

from salus_ros.policy.quantization.kernels import low_bit_matmul
from salus_ros.policy.quantization.linear import grouped_linear
from salus_ros.policy.quantization.packing import pack

CASES = [(8, 1, 128, 64), (8, 17, 96, 40), (4, 1, 128, 64), (4, 20, 256, 33), (4, 3, 32, 5)]


def difference(bits: int, rows: int, inputs: int, outputs: int, kind: torch.dtype) -> float:
    generator = torch.Generator().manual_seed(rows + inputs)
    packed = pack(torch.randn(outputs, inputs, generator=generator), bits)
    x = torch.randn(2, rows, inputs, generator=generator).to(kind)
    bias = torch.randn(outputs, generator=generator) if rows > 1 else None
    expected = grouped_linear(x, *packed, bias).float()
    found = low_bit_matmul(x, *packed, bias).float()
    return float((found - expected).abs().max() / expected.abs().max())


print(json.dumps([[*case, difference(*case, torch.float32)] for case in CASES]))
