"""From noise to a chunk: Euler steps of a flow, one by one, traced, or as one CUDA graph.

The sampler knows an expert only by what it does in one step, so it serves any: `step(x, i, held)`
gives the flow's velocity at step i, and `held` is all that stays the same over the steps (prefix
keys and values). Whatever depends on the step alone, such as time embeddings, the step has made
beforehand.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from salus_ros.policy.cuda_graph import Captured
from salus_ros.policy.flow.guidance import Guide, Held, Step, integrate_guided
from salus_ros.policy.fused.layers import fused

SAMPLER_MODES: tuple[str, ...] = ("eager", "traced", "graph")

_log = logging.getLogger(__name__)
_fallback_said = False


def flow_times(steps: int) -> tuple[float, ...]:
    """Flow time of each Euler step: 0 is noise, 1 the chunk."""
    if steps < 1:
        raise ValueError(f"{steps} flow steps: at least 1 is needed")
    return tuple(i / steps for i in range(steps))


def integrate(step: Step, steps: int, noise: Tensor, held: Held) -> Tensor:
    """Euler steps from noise [batch, rows, dims] to a chunk of the same shape."""
    x = noise
    for i in range(steps):
        x = x + step(x, i, held) / steps
    return x


class EagerSampler:
    """Runs the steps one by one."""

    mode = "eager"

    def __init__(self, step: Step, steps: int) -> None:
        flow_times(steps)
        self._step = step
        self._steps = steps

    @torch.no_grad()
    def __call__(self, noise: Tensor, held: Sequence[Tensor], guide: Guide | None = None) -> Tensor:
        """Chunk of the noise's shape [batch, rows, dims]; the first sample follows the guide."""
        if guide is None:
            return integrate(self._step, self._steps, noise, tuple(held))
        return integrate_guided(self._step, self._steps, noise, tuple(held), guide)


class GraphSampler:
    """Replays all steps as one CUDA graph over static buffers.

    Captured for the shapes of an example; inputs are copied into the buffers, the result is a
    copy. A call with other shapes raises ValueError: it would read what isn't there. Guided steps
    are a second graph over the same buffers. fuses: capture fused kernels (see policy/fused) where
    a layer has one; else the very kernels that the eager sampler runs.
    """

    mode = "graph"

    def __init__(
        self, step: Step, steps: int, noise: Tensor, held: Sequence[Tensor], fuses: bool = True
    ) -> None:
        flow_times(steps)
        self._integral = step, steps
        self._fuses = fuses
        self._noise = noise.detach().clone()
        self._held = tuple(tensor.detach().clone() for tensor in held)
        self._guided: tuple[Guide, Captured[Tensor]] | None = None
        self._replay = self._captured(lambda: integrate(step, steps, self._noise, self._held))

    def _captured(self, function: Callable[[], Tensor]) -> Captured[Tensor]:
        with torch.no_grad(), fused(self._fuses):
            return Captured(function)

    def __call__(self, noise: Tensor, held: Sequence[Tensor], guide: Guide | None = None) -> Tensor:
        """Chunk of the noise's shape [batch, rows, dims]; the first sample follows the guide.

        The first guided call captures: a warm-up makes one.
        """
        self._fill(self._noise, noise)
        for buffer, tensor in zip(self._held, held, strict=True):
            self._fill(buffer, tensor)
        if guide is None:
            return self._replay().clone()
        if self._guided is None:
            self._guided = self._capture_guided(guide)
        buffers, replay = self._guided
        for buffer, tensor in zip(buffers, guide, strict=True):
            self._fill(buffer, tensor)
        return replay().clone()

    def _capture_guided(self, guide: Guide) -> tuple[Guide, Captured[Tensor]]:
        """Only when it is wanted: not every kernel has a derivative."""
        buffers, (step, steps) = Guide(guide.plan.clone(), guide.weights.clone()), self._integral
        return buffers, self._captured(
            lambda: integrate_guided(step, steps, self._noise, self._held, buffers)
        )

    @staticmethod
    def _fill(buffer: Tensor, tensor: Tensor) -> None:
        if buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
            raise ValueError(
                f"the graph was captured for {tuple(buffer.shape)} {buffer.dtype}, not for "
                f"{tuple(tensor.shape)} {tensor.dtype}: capture it anew"
            )
        buffer.copy_(tensor)


class TracedSampler:
    """Runs all steps as one traced function: the same kernels, called from C++.

    For a CPU: each of the thousand small calls of the eager loop gives up Python's lock and must
    win it back from the threads that take in messages; one long call does so once.
    """

    mode = "traced"

    def __init__(self, step: Step, steps: int, noise: Tensor, held: Sequence[Tensor]) -> None:
        flow_times(steps)
        self._shape = noise.shape
        self._run = traced(lambda x, *h: integrate(step, steps, x, h), (noise, *held))
        self._eager = EagerSampler(step, steps)

    def __call__(self, noise: Tensor, held: Sequence[Tensor], guide: Guide | None = None) -> Tensor:
        """Chunk of the noise's shape [batch, rows, dims]; another than was traced: ValueError.

        Guided steps differentiate, which a trace can't, and run one by one.
        """
        if guide is not None:
            return self._eager(noise, held, guide)
        if noise.shape != self._shape:
            raise ValueError(f"traced for {tuple(self._shape)}, not for {tuple(noise.shape)}")
        result: Tensor = self._run(noise, *held)
        return result


def traced(function: Callable[..., Any], example: tuple[Tensor, ...]) -> Callable[..., Any]:
    """A function of tensors as one call outside of Python, for inputs of the example's shapes."""
    with torch.no_grad(), warnings.catch_warnings():
        # Shapes are constants here on purpose, which is what the tracer warns of.
        warnings.simplefilter("ignore")
        copies = tuple(tensor.detach().clone() for tensor in example)
        run: Callable[..., Any] = torch.jit.trace(function, copies, check_trace=False)
    return run


Sampler = EagerSampler | GraphSampler | TracedSampler


def make_sampler(
    mode: str, step: Step, steps: int, noise: Tensor, held: Sequence[Tensor]
) -> Sampler:
    """A sampler in this mode for inputs like these.

    Where there is no CUDA, `graph` falls back to eager, which is said once in the log. Raises
    ValueError for an unknown mode.
    """
    if mode not in SAMPLER_MODES:
        raise ValueError(f"unknown sampler mode {mode!r}; known: {', '.join(SAMPLER_MODES)}")
    if mode == "graph" and noise.is_cuda:
        return GraphSampler(step, steps, noise, held)
    if mode == "traced":
        return TracedSampler(step, steps, noise, held)
    if mode == "graph":
        _say_fallback()
    return EagerSampler(step, steps)


def _say_fallback() -> None:
    global _fallback_said  # noqa: PLW0603
    if not _fallback_said:
        _fallback_said = True
        _log.warning("no CUDA here: the sampler runs eagerly instead of as a CUDA graph")
