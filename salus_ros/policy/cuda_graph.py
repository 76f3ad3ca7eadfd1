"""CUDA-graph capture of a function that only launches kernels on buffers that stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

Result = TypeVar("Result")

WARM_UP_RUNS = 3  # on a side stream, before capture: libraries make their plans and workspaces


class Captured(Generic[Result]):
    """Replays what `function` did, on the same addresses.

    function takes no arguments, reads buffers that the caller owns and fills before each replay,
    and never touches the host. `result` is what it returned: tensors in the graph's own memory,
    overwritten by each replay. pool: memory shared with an earlier graph, which is then replayed
    before this one.
    """

    def __init__(self, function: Callable[[], Result], pool: Any = None) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                function()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self.result = function()

    @property
    def pool(self) -> Any:
        """The graph's memory, for a graph that is replayed after it."""
        return self._graph.pool()

    def __call__(self) -> Result:
        """Replay; the work is queued on the current stream."""
        self._graph.replay()
        return self.result
