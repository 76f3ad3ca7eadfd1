"""How long each stage of an inference takes, also where a GPU works behind the caller's back."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import torch

Moment = Any  # a time [s], or a CUDA event


class StageClock:
    """Started when made; `mark` ends a stage, `seconds` waits for the device and gives them all."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stages: list[str] = []
        self._times = [self._now()]

    def mark(self, stage: str) -> None:
        """A stage ends here; a GPU's work is not waited for."""
        self._stages.append(stage)
        self._times.append(self._now())

    def seconds(self) -> dict[str, float]:
        """Duration of each stage [s]."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        durations = [_between(begin, end) for begin, end in pairwise(self._times)]
        return dict(zip(self._stages, durations, strict=True))

    def _now(self) -> Moment:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def _between(begin: Moment, end: Moment) -> float:
    return end - begin if isinstance(begin, float) else float(begin.elapsed_time(end)) / 1000.0
