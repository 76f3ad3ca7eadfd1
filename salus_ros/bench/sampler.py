"""How long a flow step takes: eager, compiled, captured; a reference expert and the shipped policy.

The reference is the one that published figures are about: 25.5 M parameters, width 512, 6 layers of
self-attention, cross-attention and MLP, 8 heads, a chunk of 50 x 32, a prefix of 256, batch 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from salus_ros.policy.flow.checkpoint import load_checkpoint
from salus_ros.policy.flow.flow import ExpertStep, held_of
from salus_ros.policy.flow.guidance import Held, Step
from salus_ros.policy.flow.network import Mlp, attend, split_heads
from salus_ros.policy.flow.sampler import EagerSampler, GraphSampler, TracedSampler, integrate

STEPS = 10
MODES = ("eager", "traced", "compiled", "max-autotune", "captured")
WARM_UP = 5


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one model in one mode, a whole call of STEPS steps; milliseconds.

    problem: why there is no figure, "" where there is one. difference: largest from eager's result.
    """

    model: str
    mode: str
    batch: int
    p50: float = 0.0
    p99: float = 0.0
    per_step: float = 0.0
    difference: float = 0.0
    problem: str = ""


class ReferenceLayer(nn.Module):
    """Self-attention, cross-attention to fixed keys and values, MLP; all pre-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query, self.cross_out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """x [batch, tokens, width]; key, value [batch, heads, prefix, width / heads]."""
        q, k, v = (split_heads(p, self.heads) for p in self.qkv(self.norms[0](x)).chunk(3, -1))
        x = x + self.out(attend(q, k, v))
        query = split_heads(self.query(self.norms[1](x)), self.heads)
        x = x + self.cross_out(attend(query, key, value))
        return x + self.mlp(self.norms[2](x))


class ReferenceExpert(nn.Module):
    """The reference: actions [batch, 50, 32] in, velocities out."""

    rows, dims, width, heads, depth, prefix = 50, 32, 512, 8, 6, 256

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(self.dims, self.width), nn.Linear(self.width, self.dims)
        layers = [ReferenceLayer(self.width, self.heads) for _ in range(self.depth)]
        self.layers = nn.ModuleList(layers)
        self.time = nn.Embedding(STEPS, self.width)

    def held(self, prefix: Tensor) -> Held:
        """Keys and values of each layer, of a prefix [1, 256, width]."""
        pairs = [layer.key_value(prefix).chunk(2, -1) for layer in self.layers]
        return tuple(split_heads(part, self.heads) for pair in pairs for part in pair)

    def velocity(self, x: Tensor, i: int, held: Held) -> Tensor:
        """Of the flow at step i."""
        hidden = self.enter(x) + self.time.weight[i]
        for n, layer in enumerate(self.layers):
            hidden = layer(hidden, held[2 * n], held[2 * n + 1])
        velocity: Tensor = self.leave(hidden)
        return velocity


def use_device(name: str) -> str:
    """The device of this name, "" for CUDA where there is one; a CPU is used with one thread."""
    device = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        torch.set_num_threads(1)
    return device


def measure(device: str, repeats: int, compiled: bool) -> Iterator[Timing]:
    """Time all models in all modes; those that this machine can't run say so."""
    with torch.no_grad():
        for model, step, noise, held in _cases(torch.device(device)):
            expected = EagerSampler(step, STEPS)(noise, held)
            for mode in MODES:
                yield _timed(model, mode, step, (noise, held), expected, repeats, compiled)


def _cases(device: torch.device) -> Iterator[tuple[str, Step, Tensor, Held]]:
    torch.manual_seed(0)
    reference = ReferenceExpert().to(device).eval().requires_grad_(False)
    prefix = torch.randn(1, ReferenceExpert.prefix, ReferenceExpert.width, device=device)
    noise = torch.randn(1, ReferenceExpert.rows, ReferenceExpert.dims, device=device)
    yield "reference, 25.5 M", reference.velocity, noise, reference.held(prefix)
    loaded = load_checkpoint()
    network, config = loaded.network.to(device).requires_grad_(False), loaded.config
    step = ExpertStep(network.expert, STEPS)
    tokens = len(config.cameras) * config.image_tokens + 2
    held = held_of(network.prefix(torch.randn(1, tokens, config.width, device=device)))
    for batch in (1, config.samples):
        noise = torch.randn(batch, config.rows, config.dims, device=device)
        yield f"shipped, {batch} samples", step, noise, held


def _timed(
    model: str,
    mode: str,
    step: Step,
    inputs: tuple[Tensor, Held],
    expected: Tensor,
    repeats: int,
    compiled: bool,
) -> Timing:
    noise, held = inputs
    nothing = Timing(model, mode, len(noise))
    if mode == "max-autotune" and not noise.is_cuda:
        # Minutes of tuning for kernels that a CPU's library has tuned already.
        return Timing(**{**asdict(nothing), "problem": "left out off CUDA"})
    if mode == "captured" and not noise.is_cuda:
        return Timing(**{**asdict(nothing), "problem": "needs CUDA"})
    if mode in ("compiled", "max-autotune") and not compiled:
        return Timing(**{**asdict(nothing), "problem": "left out (--no-compiled)"})
    try:
        call = _callable(mode, step, noise, held)
        result = call(noise, held)
        times = _milliseconds(lambda: call(noise, held), repeats, noise.is_cuda)
    except Exception as error:  # a compiler may fail in any way, which is a finding, not an error
        line = " ".join(str(error).split())[:120]
        return Timing(**{**asdict(nothing), "problem": f"{type(error).__name__}: {line}"})
    p50, p99 = (float(x) for x in np.percentile(times, [50, 99]))
    difference = float((result - expected).abs().max())
    return Timing(model, mode, len(noise), p50, p99, p50 / STEPS, difference)


def _callable(mode: str, step: Step, noise: Tensor, held: Held) -> Callable[[Tensor, Held], Tensor]:
    if mode == "eager":
        return EagerSampler(step, STEPS)
    if mode == "traced":
        return TracedSampler(step, STEPS, noise, held)
    if mode == "captured":
        return GraphSampler(step, STEPS, noise, held)
    kind = "reduce-overhead" if mode == "compiled" else mode
    function: Any = torch.compile(
        lambda x, h: integrate(step, STEPS, x, h), mode=kind, fullgraph=True
    )
    return lambda x, h: function(x, h).clone()


def _milliseconds(call: Callable[[], object], repeats: int, cuda: bool) -> list[float]:
    times = []
    for i in range(WARM_UP + repeats):
        if cuda:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        if i >= WARM_UP:
            times.append((time.perf_counter() - begin) * 1e3)
    return times


def chunk_latency(repeats: int) -> dict[str, Any]:
    """Whole chunks of the shipped policy on one core, 8 samples included; milliseconds."""
    # Here, since it needs the simulation, which the sampler doesn't.
    from salus_ros.policy.flow.backend import FlowBackend  # noqa: PLC0415
    from salus_ros.sim.rig import Rig  # noqa: PLC0415
    from salus_ros.sim.series import FIRST_UNSEEN_SEED  # noqa: PLC0415
    from salus_ros.sim.tasks import TASKS  # noqa: PLC0415

    torch.set_num_threads(1)
    rig, backend = Rig(), FlowBackend(device="cpu")
    rig.reset(TASKS[0].instruction, FIRST_UNSEEN_SEED)
    observation = rig.observe(backend.cameras)
    rig.close()
    backend.warm_up()
    wall, stages = [], []
    for _ in range(WARM_UP + repeats):
        begin = time.perf_counter()
        prediction = backend.predict(observation)
        wall.append((time.perf_counter() - begin) * 1e3)
        stages.append(prediction.stage_seconds)
    wall, stages = wall[WARM_UP:], stages[WARM_UP:]
    p50, p99 = (round(float(x), 2) for x in np.percentile(wall, [50, 99]))
    names = stages[0]
    medians = {n: round(float(np.median([s[n] for s in stages])) * 1e3, 3) for n in names}
    samples = prediction.distribution.samples if prediction.distribution else 1
    return {"p50_ms": p50, "p99_ms": p99, "stages_p50_ms": medians, "samples": samples}
