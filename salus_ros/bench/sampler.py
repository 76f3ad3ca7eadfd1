"""How long a flow step takes: eager, compiled, captured; the reference and the shipped policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from salus_ros.deploy.subject import chosen_device
from salus_ros.policy.flow.checkpoint import load_checkpoint
from salus_ros.policy.flow.flow import ExpertStep, held_of
from salus_ros.policy.flow.guidance import Held, Step
from salus_ros.policy.flow.reference import STEPS, ReferenceExpert
from salus_ros.policy.flow.sampler import EagerSampler, GraphSampler, TracedSampler, integrate
from salus_ros.policy.fused.layers import fused
from salus_ros.policy.quantization.precision import set_precision, weight_bytes

MODES = ("eager", "traced", "compiled", "max-autotune", "captured", "fused")
"""captured: the very kernels of eager as a CUDA graph; fused: fused ones (policy/fused)."""
CUDA_ONLY = ("max-autotune", "captured", "fused")
WARM_UP = 5
REFERENCE = "reference, 25.5 M"
OutOfMemory = torch.cuda.OutOfMemoryError
"""What a GPU without room raises: the command line imports no torch."""
COPIED = 2**31
"""Bytes that are copied to learn a GPU's bandwidth: many times its cache."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one model in one mode, a whole call of STEPS steps; milliseconds.

    difference: largest from eager's result. replay_difference: of a graph from the same kernels
    launched one by one. growth: bytes of GPU memory that the timed calls left behind. of_reading:
    times what reading the weights once a step takes, at the memory's bandwidth. None: not told on
    this device or in this mode. problem: why there is no figure, "" where there is one.
    """

    model: str
    precision: str
    mode: str
    batch: int
    p50: float = 0.0
    p99: float = 0.0
    per_step: float = 0.0
    difference: float = 0.0
    replay_difference: float | None = None
    growth: int | None = None
    of_reading: float | None = None
    problem: str = ""


PRECISIONS = {"cpu": ("float32",), "cuda": ("float32", "bfloat16")}


class Case(NamedTuple):
    """A model to time, its inputs, and what its weights take up."""

    model: str
    precision: str
    step: Step
    noise: Tensor
    held: Held
    weight_bytes: int


def use_device(name: str) -> str:
    """The device of this name, "" for CUDA where there is one; a CPU is used with one thread.

    Raises ValueError for one that isn't here.
    """
    device = chosen_device(name)
    if device == "cpu":
        torch.set_num_threads(1)
    return device


def bandwidth(device: str) -> float | None:
    """Bytes a second that a GPU reads and writes in a large copy; None on a CPU."""
    if device != "cuda":
        return None
    source = torch.empty(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    _warm_up(lambda: target.copy_(source))
    times = _milliseconds(lambda: target.copy_(source), 20, cuda=True)
    return 2.0 * COPIED / (float(np.median(times)) / 1e3)


def measure(
    device: str, precision: str, modes: tuple[str, ...], repeats: int, speed: float | None
) -> Iterator[Timing]:
    """Time all models in these modes; those that this machine can't run say so.

    speed: bytes a second that memory is read with, None where it isn't known.
    """
    with torch.no_grad():
        for case in _cases(torch.device(device), precision):
            expected = EagerSampler(case.step, STEPS)(case.noise, case.held)
            for mode in modes:
                timing = _timed(case, mode, expected, repeats)
                yield _beside_reading(timing, case, speed)


def _cases(device: torch.device, precision: str) -> Iterator[Case]:
    torch.manual_seed(0)
    reference = ReferenceExpert().to(device).eval().requires_grad_(False)
    set_precision(reference, precision)
    kind, held_bytes = reference.leave.weight.dtype, weight_bytes(reference)
    prefix = torch.randn(1, ReferenceExpert.prefix, ReferenceExpert.width, device=device)
    noise = torch.randn(1, ReferenceExpert.rows, ReferenceExpert.dims, device=device).to(kind)
    held = reference.held(prefix.to(kind))
    yield Case(REFERENCE, precision, reference.velocity, noise, held, held_bytes)
    loaded = load_checkpoint()
    network, config = loaded.network.to(device).requires_grad_(False), loaded.config
    set_precision(network, precision)
    step = ExpertStep(network.expert, STEPS)
    tokens = len(config.cameras) * config.image_tokens + 2
    hidden = torch.randn(1, tokens, config.width, device=device).to(network.dtype)
    held, held_bytes = held_of(network.prefix(hidden)), weight_bytes(network.expert)
    for batch in (1, config.samples):
        noise = torch.randn(batch, config.rows, config.dims, device=device)
        yield Case(f"shipped, {batch} samples", precision, step, noise, held, held_bytes)


def _beside_reading(timing: Timing, case: Case, speed: float | None) -> Timing:
    if speed is None or timing.problem:
        return timing
    return replace(timing, of_reading=timing.per_step * 1e-3 * speed / case.weight_bytes)


def _timed(case: Case, mode: str, expected: Tensor, repeats: int) -> Timing:
    noise, held, cuda = case.noise, case.held, case.noise.is_cuda
    nothing = Timing(case.model, case.precision, mode, len(noise))
    if mode == "traced" and cuda:
        return replace(nothing, problem="left out: a graph does all that it does")
    if mode in CUDA_ONLY and not cuda:
        # Of a compiler's tuning a CPU has nothing: its library has tuned these kernels already.
        return replace(nothing, problem="needs CUDA")
    if mode in ("compiled", "max-autotune") and cuda and case.model != REFERENCE:
        return replace(nothing, problem="left out: it takes minutes, and the reference tells")
    try:
        call = _callable(mode, case.step, noise, held)
        result = _warm_up(lambda: call(noise, held))
        before = torch.cuda.memory_allocated() if cuda else 0
        times = _milliseconds(lambda: call(noise, held), repeats, cuda)
        growth = torch.cuda.memory_allocated() - before if cuda else None
    except Exception as error:  # a compiler may fail in any way, which is a finding, not an error
        line = " ".join(str(error).split())[:120]
        return replace(nothing, problem=f"{type(error).__name__}: {line}")
    p50, p99 = (float(x) for x in np.percentile(times, [50, 99]))
    return replace(
        nothing, p50=p50, p99=p99, per_step=p50 / STEPS, growth=growth,
        difference=float((result - expected).abs().max()),
        replay_difference=_replay_difference(case, mode, result),
    )  # fmt: skip


def _replay_difference(case: Case, mode: str, result: Tensor) -> float | None:
    if mode not in ("captured", "fused"):
        return None
    with fused(mode == "fused"):
        alike = EagerSampler(case.step, STEPS)(case.noise, case.held)
    return float((result - alike).abs().max())


def _callable(mode: str, step: Step, noise: Tensor, held: Held) -> Callable[[Tensor, Held], Tensor]:
    if mode == "eager":
        return EagerSampler(step, STEPS)
    if mode == "traced":
        return TracedSampler(step, STEPS, noise, held)
    if mode in ("captured", "fused"):
        return GraphSampler(step, STEPS, noise, held, fuses=mode == "fused")
    kind = "reduce-overhead" if mode == "compiled" else mode
    torch.compiler.reset()
    function: Any = torch.compile(
        lambda x, h: integrate(step, STEPS, x, h), mode=kind, fullgraph=True
    )
    return lambda x, h: function(x, h).clone()


def _warm_up(call: Callable[[], Tensor]) -> Tensor:
    """What it computes."""
    for _ in range(WARM_UP):
        result = call()
    return result


def _milliseconds(call: Callable[[], object], repeats: int, cuda: bool) -> list[float]:
    times = []
    for _ in range(repeats):
        if cuda:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) * 1e3)
    return times


def chunk_latency(device: str, precision: str, repeats: int) -> dict[str, Any]:
    """Whole chunks of the shipped policy, 8 samples included; milliseconds.

    From images on the host to actions on the host, of noise as images; on a CPU on one core.
    """
    # Here, since it needs more than the sampler does.
    from salus_ros.interfaces import JointState, Observation  # noqa: PLC0415
    from salus_ros.policy.flow.backend import FlowBackend  # noqa: PLC0415

    backend, config = FlowBackend(device=device, precision=precision), load_checkpoint().config
    draw, size = np.random.default_rng(0), (config.image_size, config.image_size, 3)
    images = {camera: draw.integers(0, 256, size, np.uint8) for camera in config.cameras}
    still = np.zeros(config.dims - 1)
    joints = JointState(0, still, still, np.empty(0), 0.04)
    observation = Observation(0, joints, config.instructions[0], images)
    backend.warm_up()
    wall, stages = [], []
    for _ in range(WARM_UP + repeats):
        begin = time.perf_counter()
        prediction = backend.predict(observation)
        wall.append((time.perf_counter() - begin) * 1e3)
        stages.append(prediction.stage_seconds)
    wall, stages = wall[WARM_UP:], stages[WARM_UP:]
    p50, p99 = (round(float(x), 3) for x in np.percentile(wall, [50, 99]))
    medians = {n: round(float(np.median([s[n] for s in stages])) * 1e3, 3) for n in stages[0]}
    samples = prediction.distribution.samples if prediction.distribution else 1
    return {
        "device": device, "precision": precision, "p50_ms": p50, "p99_ms": p99,
        "stages_p50_ms": medians, "samples": samples,
    }  # fmt: skip
