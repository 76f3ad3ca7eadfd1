"""A linear layer with low-bit weights: one operator, with a kernel for a CPU and one for CUDA.

The operator is opaque to tracers and compilers: a trace of plain PyTorch operations on constant
weights is folded, and would hold the weights in full precision again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from salus_ros.policy.quantization.packing import Packed, pack, unpack

_library = torch.library.Library("salus", "DEF")
_library.define("low_bit_linear(Tensor x, Tensor codes, Tensor scales, Tensor? bias) -> Tensor")


def grouped_linear(x: Tensor, codes: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., in] times the weight of Packed(codes, scales), plus bias [out], on a CPU.

    Group by group, as the CUDA kernel does: sums of x * code in float32, then times the scale. The
    weight is never there as a whole.
    """
    rows = x.reshape(-1, x.shape[-1]).float()
    group = x.shape[-1] // len(codes)
    total = torch.zeros(len(rows), codes.shape[1])
    for number, (code, scale) in enumerate(zip(codes, scales.float(), strict=True)):
        part = rows[:, number * group : (number + 1) * group]
        total.add_(_times_codes(part, code).mul_(scale))
    if bias is not None:
        total.add_(bias.float())
    return total.to(x.dtype).view(*x.shape[:-1], -1)


def _times_codes(part: Tensor, codes: Tensor) -> Tensor:
    """part [rows, group] times the codes of a group [out, group or half of it]."""
    if codes.dtype == torch.int8:
        return part @ codes.float().T
    first, second = part.chunk(2, -1)
    low, high = (codes & 15).float().sub_(8.0), (codes >> 4).float().sub_(8.0)
    return (first @ low.T).addmm_(second, high.T)


def _cuda(x: Tensor, codes: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
    # Triton is there only with PyTorch's CUDA wheels.
    from salus_ros.policy.quantization.kernels import low_bit_matmul  # noqa: PLC0415

    return low_bit_matmul(x, codes, scales, bias)


_library.impl("low_bit_linear", grouped_linear, "CPU")
_library.impl("low_bit_linear", _cuda, "CUDA")


@torch.library.register_fake("salus::low_bit_linear")  # type: ignore[untyped-decorator]
def _fake(x: Tensor, codes: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], codes.shape[1])


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:3])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
    """For guided sampling, which differentiates by the chunk; weights are never trained."""
    weight = unpack(Packed(*ctx.saved_tensors))
    return (gradient.float() @ weight).to(gradient.dtype), None, None, None


torch.library.register_autograd("salus::low_bit_linear", _backward, setup_context=_remember)


class LowBitLinear(nn.Module):  # type: ignore[misc]  # torch's types are not followed
    """Stands in for an `nn.Linear`, whose weight it holds with 8 or 4 bits."""

    def __init__(self, linear: nn.Linear, bits: int) -> None:
        """Raises QuantizationError where the weight can't be packed."""
        super().__init__()
        packed = pack(linear.weight.detach(), bits)
        self.register_buffer("codes", packed.codes)
        self.register_buffer("scales", packed.scales)
        self.bias = linear.bias

    @property
    def packed(self) -> Packed:
        """The weight."""
        return Packed(self.codes, self.scales)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out], in the input's type."""
        result: Tensor = torch.ops.salus.low_bit_linear(x, self.codes, self.scales, self.bias)
        return result
