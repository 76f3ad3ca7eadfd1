"""The way from an observation to the prefix as one CUDA graph."""

from __future__ import annotations

import torch
from torch import Tensor

from salus_ros.policy.cuda_graph import Captured
from salus_ros.policy.flow.network import FlowNetwork, Prefix
from salus_ros.policy.fused.layers import fused


class PrefixGraph:
    """Vision and prefix, captured for the shapes of example inputs (see FlowNetwork.forward).

    The prefix lies in the graph's own memory: the next call overwrites it.
    """

    def __init__(self, network: FlowNetwork, *inputs: Tensor) -> None:
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        with torch.no_grad(), fused():
            self._replay: Captured[Prefix] = Captured(lambda: network(*self._inputs))

    def __call__(self, *inputs: Tensor) -> Prefix:
        """Of inputs of the example's shapes, on any device."""
        for buffer, tensor in zip(self._inputs, inputs, strict=True):
            buffer.copy_(tensor)
        return self._replay()
