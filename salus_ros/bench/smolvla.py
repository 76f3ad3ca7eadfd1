"""SmolVLA's fast path beside LeRobot's own, in one run: from camera images to actions.

Both get the same weights, observations and noise; their calls take turns, so that whatever else
the machine does meets both.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from torch import Tensor

from salus_ros.bench.smolvla_model import (
    DIMS,
    SIZES,
    SmolVLASize,
    make_policy,
    make_vision_language_model,
    smolvla_config,
    statistics,
)
from salus_ros.policy.lerobot.smolvla.sampler import SmolVLASampler

CAMERAS = ("front", "wrist")
INSTRUCTIONS = ("pick up the red block", "put the blue block into the green box")
IMAGE = (480, 640)
SAMPLES = 8
WARM_UP_RUNS = 2

# A way to run the policy: a batch and noise in, normalised actions [S, rows, dims] out.
Run = Callable[[dict[str, Any], Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Timing:
    """One way to run a policy of one size and type.

    median_ms, p99_ms: from uint8 images on the host to actions on the host. times_stock: how many
    times faster than LeRobot's own, by the median. largest_difference: of the actions from those
    of LeRobot in the same precision, relative to their largest; of the first sample.
    """

    size: str
    precision: str
    way: str
    samples: int
    repeats: int
    median_ms: float
    p99_ms: float
    times_stock: float
    largest_difference: float
    stage_ms: dict[str, float] = field(default_factory=dict)


def measure(
    sizes: tuple[str, ...],
    repeats: int,
    device: str,
    compiles: bool,
    on_call: Callable[[str], None] = lambda _: None,
) -> Iterator[Timing]:
    """Time each way to run policies of these sizes; on CUDA in bfloat16 as well.

    compiles: also LeRobot's own under torch.compile, which takes minutes to compile. on_call is
    told what each call runs.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in sizes:
            vlm = Path(folder) / name
            make_vision_language_model(vlm, SIZES[name])
            precisions = ("float32", "bfloat16") if device == "cuda" else ("float32",)
            for precision in precisions:
                bench = _Bench(SIZES[name], vlm, precision, device, compiles, on_call)
                yield from bench.measure(repeats)


def conditions(device: str) -> dict[str, Any]:
    """What else a reader of the timings needs to know."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch_threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "weights": "random",
        "cameras": len(CAMERAS),
        "camera_image": list(IMAGE),
        "lerobot": version("lerobot"),
        "transformers": version("transformers"),
    }


def resolve_device(name: str) -> str:
    """The device to measure on: "" is CUDA where there is one."""
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def table_row(timing: Timing) -> dict[str, Any]:
    """As it stands in the result file."""
    return asdict(timing)


class _Bench:
    """One policy, its processors, two observations, and the ways to run it."""

    def __init__(
        self,
        size: SmolVLASize,
        vlm: Path,
        precision: str,
        device: str,
        compiles: bool,
        on_call: Callable[[str], None],
    ) -> None:
        self._on_call = on_call
        self._size, self._precision, self._device = size, precision, device
        config = smolvla_config(vlm, size, CAMERAS, device=device)
        self._policy = make_policy(config)
        if precision == "bfloat16":
            self._policy.model.vlm_with_expert.to(torch.bfloat16)
        self._before, self._after = make_smolvla_pre_post_processors(config, statistics())
        draw = np.random.default_rng(0)
        self._images = draw.integers(0, 256, (2, len(CAMERAS), *IMAGE, 3), dtype=np.uint8)
        self._states = draw.normal(size=(2, DIMS)).astype(np.float32)
        shape = (SAMPLES, size.chunk, config.max_action_dim)
        generator = torch.Generator().manual_seed(0)
        self._noise = torch.randn(shape, generator=generator).to(device)
        self._stages: dict[str, list[dict[str, float]]] = {}
        self._ways = self._make_ways(compiles)

    def _make_ways(self, compiles: bool) -> dict[tuple[str, int], Run]:
        keys = tuple(self._policy.config.image_features)

        def fast(samples: int, **options: Any) -> SmolVLASampler:
            return SmolVLASampler(self._policy, keys, samples, **options)

        ways: dict[tuple[str, int], Run] = {("lerobot", 1): self._lerobots_own}
        for samples in (1, SAMPLES):
            ways["eager", samples] = self._timed("eager", samples, fast(samples, graphs=False))
        if self._device == "cuda":
            for samples in (1, SAMPLES):
                ways["graphs", samples] = self._timed("graphs", samples, fast(samples))
            if compiles:
                for mode in ("reduce-overhead", "max-autotune"):
                    ways[f"lerobot, compile {mode}", 1] = self._compiled(mode)
        return ways

    def _timed(self, way: str, samples: int, sampler: SmolVLASampler) -> Run:
        stages = self._stages.setdefault(f"{way} {samples}", [])

        def run(batch: dict[str, Any], noise: Tensor) -> Tensor:
            sample = sampler(batch, noise)
            stages.append(sample.stage_seconds)
            return sample.actions[:, :, :DIMS]

        return run

    def _lerobots_own(self, batch: dict[str, Any], noise: Tensor) -> Tensor:
        self._policy.reset()
        actions: Tensor = self._policy.predict_action_chunk(batch, noise=noise)
        return actions

    def _compiled(self, mode: str) -> Run:
        model = self._policy.model
        eager = model.sample_actions
        compiled = torch.compile(eager, mode=mode)

        def run(batch: dict[str, Any], noise: Tensor) -> Tensor:
            model.sample_actions = compiled
            try:
                return self._lerobots_own(batch, noise).clone()
            finally:
                model.sample_actions = eager

        return run

    def measure(self, repeats: int) -> list[Timing]:
        """All ways in turn, `repeats` times."""
        with torch.inference_mode():
            differences = self._differences()
            for stages in self._stages.values():
                stages.clear()
            seconds: dict[tuple[str, int], list[float]] = {way: [] for way in self._ways}
            for number in range(repeats):
                for way in self._ways:
                    begin = time.perf_counter()
                    self._chunk(way, number % 2)
                    seconds[way].append(time.perf_counter() - begin)
        return [self._timing(way, seconds, differences) for way in self._ways]

    def _chunk(self, way: tuple[str, int], number: int) -> Tensor:
        """Actions [S, rows, dims] on the host, of one observation."""
        self._on_call(f"{self._size.name}, {self._precision}, {way[0]} with {way[1]} samples")
        frame: dict[str, Any] = {"task": INSTRUCTIONS[number]}
        for camera, image in zip(CAMERAS, self._images[number], strict=True):
            pixels = torch.from_numpy(image).to(self._device)
            frame[f"observation.images.{camera}"] = (
                pixels.permute(2, 0, 1).contiguous().to(torch.float32) / 255.0
            )
        frame["observation.state"] = torch.from_numpy(self._states[number])
        noise = self._noise[: way[1]]
        actions: Tensor = self._after(self._ways[way](self._before(frame), noise))
        return actions

    def _differences(self) -> dict[tuple[str, int], float]:
        """Of both observations; also the warm-up, where a GPU captures and compiles."""
        largest = dict.fromkeys(self._ways, 0.0)
        for _ in range(WARM_UP_RUNS if self._device == "cuda" else 1):
            for number in range(2):
                stock = self._chunk(("lerobot", 1), number)
                for way in list(self._ways)[1:]:
                    apart = (self._chunk(way, number)[:1] - stock).abs().max() / stock.abs().max()
                    largest[way] = max(largest[way], float(apart))
        return largest

    def _timing(
        self,
        way: tuple[str, int],
        seconds: dict[tuple[str, int], list[float]],
        differences: dict[tuple[str, int], float],
    ) -> Timing:
        own, stock = np.array(seconds[way]), np.array(seconds["lerobot", 1])
        name, samples = way
        stages = self._stages.get(f"{name} {samples}", [])
        names = stages[0] if stages else ()
        return Timing(
            size=self._size.name,
            precision=self._precision,
            way=name,
            samples=samples,
            repeats=len(own),
            median_ms=_milliseconds(np.median(own)),
            p99_ms=_milliseconds(np.percentile(own, 99)),
            times_stock=round(float(np.median(stock) / np.median(own)), 3),
            largest_difference=differences[way],
            stage_ms={
                stage: _milliseconds(np.median([one[stage] for one in stages])) for stage in names
            },
        )


def _milliseconds(seconds: float | np.floating[Any]) -> float:
    return round(1000.0 * float(seconds), 3)
