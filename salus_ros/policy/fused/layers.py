"""Linear layers with what stands before and after them, and attention.

On CUDA, inside `fused()`, each is one Triton kernel; everywhere else, where gradients are wanted
and where Triton is not installed, plain PyTorch, in the same order of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_fused: ContextVar[bool] = ContextVar("fused", default=False)

TYPES = (torch.float32, torch.bfloat16, torch.float16)
LEAST_CAPABILITY = (8, 0)
"""Of a GPU: older tensor cores know neither bfloat16 nor TensorFloat-32."""
SIZES = (16, 32, 64, 128)
"""Of a head that the attention kernel takes."""
MOST_KEYS = 256
"""Whose scores a program of that kernel holds at once."""


@contextmanager
def fused(on: bool = True) -> Iterator[None]:
    """Inside, layers on CUDA are single kernels, or not."""
    token = _fused.set(on)
    try:
        yield
    finally:
        _fused.reset(token)


class Weights(NamedTuple):
    """A linear layer without a module: weight [out, in], bias [out]."""

    weight: Tensor
    bias: Tensor | None


Layer = Callable[[Tensor], Tensor] | Weights
"""An nn.Linear, Weights, or what stands in for one: low-bit layers run by themselves."""


class Norm(NamedTuple):
    """A layer norm's scale and shift [..., width]; `moved`: they come on top of a plain one.

    Then the norm is multiplied with 1 + scale, as a flow's time does.
    """

    scale: Tensor
    shift: Tensor
    moved: bool = False
    epsilon: float = 1e-5

    def numbers(self) -> tuple[Tensor, Tensor, float, float]:
        """Scale, shift, what is added to the scale, epsilon."""
        return self.scale, self.shift, float(self.moved), self.epsilon

    def of(self, x: Tensor) -> Tensor:
        """[..., width], likewise."""
        width = x.shape[-1:]
        if not self.moved:
            return functional.layer_norm(x, width, self.scale, self.shift, self.epsilon)
        return functional.layer_norm(x, width, eps=self.epsilon) * (1 + self.scale) + self.shift


def norm_of(module: nn.LayerNorm) -> Norm:
    """Of a module with weights."""
    return Norm(module.weight, module.bias, epsilon=module.eps)


def project(
    layer: Layer,
    x: Tensor,
    norm: Norm | None = None,
    silu: bool = False,
    residual: Tensor | None = None,
    dropout: nn.Dropout | None = None,
) -> Tensor:
    """residual + dropout(silu(layer(norm(x)))), each part where it is given.

    x [..., in] to [..., out]; residual: anything that can be added to that.
    """
    drops = dropout is not None and dropout.training
    weights = None if drops or not _takes(x) else _plain_weights(layer, x.dtype)
    if weights and _norm_fits(norm, x) and _repeats(residual, x, len(weights.weight)):
        from salus_ros.policy.fused import kernels  # noqa: PLC0415  # Triton: only with CUDA

        how = norm.numbers() if norm else None
        return kernels.project(x, weights.weight, weights.bias, how, silu, residual)
    x = x if norm is None else norm.of(x)
    y = functional.linear(x, *layer) if isinstance(layer, Weights) else layer(x)
    y = functional.silu(y) if silu else y
    y = y if dropout is None else dropout(y)
    return y if residual is None else residual + y


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of [batch, heads, tokens, size]; a key batch of 1 serves all queries.

    Returns [batch, tokens, heads * size].
    """
    if _takes(query) and _attention_fits(query, key, value, shared_memory(query.device)):
        from salus_ros.policy.fused import kernels  # noqa: PLC0415

        return kernels.attend(query, key, value)
    weights = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
    result = weights.softmax(-1) @ value
    return result.transpose(1, 2).flatten(2)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def shared_memory(device: torch.device) -> int:
    """Bytes that a block of threads may have."""
    return int(torch.cuda.get_device_properties(device).shared_memory_per_block_optin)


def key_block(keys: int) -> int:
    """Keys that a program of the attention kernel makes room for: a power of 2, 16 at least."""
    return max(16, 1 << (keys - 1).bit_length())


def _takes(x: Tensor) -> bool:
    if torch.compiler.is_compiling():  # a compiler makes its own kernels
        return False
    wanted = _fused.get() and x.is_cuda and x.dtype in TYPES and not torch.is_autocast_enabled()
    if not wanted or _differentiates(x) or not _has_triton():
        return False
    return tuple(torch.cuda.get_device_capability(x.device)) >= LEAST_CAPABILITY


def _differentiates(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _plain_weights(layer: Layer, kind: torch.dtype) -> Weights | None:
    """Of a layer whose weight is a plain tensor of this type that needs no gradient."""
    if not isinstance(layer, (nn.Linear, Weights)) or _differentiates(layer.weight, layer.bias):
        return None
    weight = layer.weight
    plain = type(weight.data) is Tensor and weight.dtype == kind and weight.is_contiguous()
    return Weights(weight, layer.bias) if plain else None


def _norm_fits(norm: Norm | None, x: Tensor) -> bool:
    """Not where each row of a batch has a scale of its own."""
    if norm is None:
        return True
    parts = norm.scale, norm.shift
    dense = all(part.numel() == x.shape[-1] and part.stride(-1) == 1 for part in parts)
    return dense and not _differentiates(*parts)


def _repeats(residual: Tensor | None, x: Tensor, outputs: int) -> bool:
    """Whether it has a row for each of x's, or for each of its last axes, and all outputs."""
    if residual is None:
        return True
    axes = tuple(residual.shape[:-1])
    rows = axes == tuple(x.shape[:-1])[x.ndim - 1 - len(axes) :]
    alike = residual.dtype == x.dtype and residual.shape[-1] == outputs
    return rows and alike and not _differentiates(residual)


def _attention_fits(query: Tensor, key: Tensor, value: Tensor, room: int) -> bool:
    """room: bytes of shared memory, where keys and values of a head must find place."""
    both = key, value
    dense = all(t.stride(-1) == 1 and t.dtype == query.dtype for t in (query, *both))
    batches = all(len(t) in (1, len(query)) and t.shape[2] == key.shape[2] for t in both)
    count, size = key.shape[2], query.shape[-1]
    if not dense or not batches or size not in SIZES or count > MOST_KEYS:
        return False
    fits = 2 * key_block(count) * size * query.element_size() <= 0.8 * room
    return fits and not _differentiates(*both)
