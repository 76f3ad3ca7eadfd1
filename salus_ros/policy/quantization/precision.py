"""Puts a policy's weights into another precision, and says what they take up."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from salus_ros.policy.quantization.linear import LowBitLinear
from salus_ros.policy.quantization.packing import GROUPS, QuantizationError, unpack

PRECISIONS = ("float32", "bfloat16", "int8", "int4", "int8-torchao", "int4-torchao")
"""int8, int4: this package's kernels. All low-bit ones are weight-only."""
LEAST_WIDTH = 64
"""Of a layer that is quantised, in and out: narrower ones hold little, and often scale actions."""
TORCHAO_GROUP = 32
"""Of 4-bit weights: divides every layer that this package's groups do."""


def set_precision(module: nn.Module, precision: str) -> None:
    """Quantise or cast all wide linear layers, in place; the rest is cast to what they compute in.

    Buffers keep their type: they are coordinates and the like, not weights. Raises
    QuantizationError where precision or module won't have it.
    """
    if precision not in PRECISIONS:
        raise QuantizationError(
            f"precision '{precision}' is unknown; known: {', '.join(PRECISIONS)}"
        )
    device = next(module.parameters()).device
    kind, _, by = precision.partition("-")
    if kind in ("int8", "int4"):
        wide = dict(_wide_linears(module))
        if not wide:
            raise QuantizationError(
                f"no linear layer is at least {LEAST_WIDTH} wide and divides into groups of "
                f"{GROUPS[-1]}: there is nothing to quantise"
            )
        # Packed from full precision: a cast before would round twice.
        quantize = _torchao if by else _packed
        quantize(module, wide, kind, compute_type(precision, device))
    _cast(module, compute_type(precision, device))


def compute_type(precision: str, device: torch.device) -> torch.dtype:
    """What activations are, and all weights that are not quantised."""
    if precision in ("bfloat16", "int4-torchao"):
        # torchao's 4-bit kernel for a CPU is a hundred times slower in float32.
        return torch.bfloat16
    low_bit_on_cuda = precision != "float32" and device.type == "cuda"
    return torch.bfloat16 if low_bit_on_cuda else torch.float32


def _cast(module: nn.Module, kind: torch.dtype) -> None:
    for child in module.modules():
        if isinstance(child, nn.Linear) and type(child.weight.data) is not Tensor:
            continue  # torchao's, already in its type
        for parameter in child.parameters(recurse=False):
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(kind)


def _wide_linears(module: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    for name, child in module.named_modules():
        wide = type(child) is nn.Linear and min(child.weight.shape) >= LEAST_WIDTH
        if wide and child.in_features % GROUPS[-1] == 0:
            yield name, child


def _replace(module: nn.Module, name: str, child: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, child)


def _packed(module: nn.Module, wide: dict[str, nn.Linear], kind: str, _type: torch.dtype) -> None:
    for name, linear in wide.items():
        _replace(module, name, LowBitLinear(linear, int(kind.removeprefix("int"))))


def _torchao(
    module: nn.Module, wide: dict[str, nn.Linear], kind: str, compute: torch.dtype
) -> None:
    chosen = set(wide.values())
    for linear in chosen:
        linear.to(compute)
    device = next(iter(chosen)).weight.device
    with warnings.catch_warnings():
        # It warns of its own older formats; the newer ones lack a kernel for a CPU.
        warnings.simplefilter("ignore")
        try:
            from torchao.quantization import quantize_  # noqa: PLC0415

            config = _torchao_config(kind, device)
            quantize_(module, config, filter_fn=lambda child, _name: child in chosen)
        except ImportError as error:
            raise QuantizationError(
                f"precision '{kind}-torchao' needs torchao ({error}): pip install torchao==0.15.0"
            ) from error
        except (NotImplementedError, AssertionError, ValueError, RuntimeError) as error:
            line = " ".join(str(error).split())[:200]
            raise QuantizationError(f"torchao can't quantise this policy: {line}") from error


def _torchao_config(kind: str, device: torch.device) -> Any:
    from torchao.dtypes import Int4CPULayout, TensorCoreTiledLayout  # noqa: PLC0415
    from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig  # noqa: PLC0415

    # Its settings for a compiler would let all of the process's float32 products be less exact.
    alone = {"set_inductor_config": False, "version": 1}
    if kind == "int8":
        return Int8WeightOnlyConfig(**alone)
    layout = TensorCoreTiledLayout() if device.type == "cuda" else Int4CPULayout()
    return Int4WeightOnlyConfig(group_size=TORCHAO_GROUP, layout=layout, **alone)


def make_exact(module: nn.Module) -> None:
    """Replace every weight by the same number in float32, in place: what kernels are judged by."""
    for name, child in list(module.named_modules()):
        if isinstance(child, LowBitLinear):
            _replace(module, name, _plain(unpack(child.packed), child.bias))
        elif isinstance(child, nn.Linear) and hasattr(child.weight, "dequantize"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                weight = child.weight.dequantize()
            _replace(module, name, _plain(weight, child.bias))
    _cast(module, torch.float32)


def _plain(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device=weight.device)
    linear.weight.data = weight.detach().float()
    if bias is not None:
        linear.bias.data = bias.detach().float()
    return linear.requires_grad_(False)


def weight_bytes(module: nn.Module) -> int:
    """What the weights take up: parameters, codes and scales as they are stored."""
    held = {id(t): t for t in module.state_dict(keep_vars=True).values()}
    return sum(_bytes(tensor) for tensor in held.values())


def _bytes(tensor: Any) -> int:
    flatten: Callable[[], tuple[list[str], Any]] | None
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None and type(tensor) not in (Tensor, nn.Parameter):
        return sum(_bytes(getattr(tensor, name)) for name in flatten()[0])
    return int(tensor.numel() * tensor.element_size())
