"""Chunks in real time, in lock-step: seams, gaps and ages of each merging mode and latency."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from salus_ros.bench.chunk_stream import ORDERS, Arrival, ChunkStream
from salus_ros.interfaces import ActionChunk, FloatArray, seconds
from salus_ros.policy.registry import make_backend
from salus_ros.sim.lockstep import Lockstep, LockstepConfig
from salus_ros.sim.lockstep_series import panda_limits
from salus_ros.sim.rig import Rig
from salus_ros.supervision.gate_state import GateState

PERCENTILE = 95.0
FOLLOWING = ("NOMINAL", "LIMITED", "SLOW")
"""Modes of the supervisor in which it follows the plan."""
AGE_ALLOWANCE = 0.3
"""The observation's age at execution may be the latency plus this [s], at the 95th percentile."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a policy is run; see LockstepConfig."""

    merging: str = "latest"
    latency: float = 0.07
    jitter: float = 0.0
    execution_horizon: int = 10
    rtc_schedule: str = "exp"


@dataclass(slots=True)
class Watched:
    """What one episode published: chunks with their arrival, modes [(when, mode)], its end.

    reasons: of each of `modes`, its gravest cause; empty: none.
    """

    arrivals: list[Arrival] = field(default_factory=list)
    modes: list[tuple[int, str]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    end: int = 0
    success: bool = False
    interventions: Mapping[str, int] = field(default_factory=dict)

    def take(self, time: int, thing: object) -> None:
        """An observer of a lock-step run."""
        self.end = time
        if isinstance(thing, ActionChunk):
            self.arrivals.append(Arrival(time, thing))
        elif isinstance(thing, GateState):
            self.modes.append((time, thing.mode.name))
            self.reasons.append(first_reason(thing.reasons))

    def spans(self) -> list[tuple[int, int, str]]:
        """(begin, end, mode) of the supervisor's modes, those of the same one as they were told."""
        ends = [when for when, _ in self.modes[1:]] + [self.end] * bool(self.modes)
        return [(begin, end, name) for (begin, name), end in zip(self.modes, ends, strict=True)]

    @property
    def began(self) -> int:
        """Which of the modes is the first NOMINAL; past the last: none."""
        names = [name for _, name in self.modes]
        return names.index("NOMINAL") if "NOMINAL" in names else len(names)

    def followed(self) -> list[tuple[int, int]]:
        """Spans in which plans were followed."""
        return [(begin, end) for begin, end, name in self.spans() if name in FOLLOWING]


def watch(
    series: Sequence[tuple[str, int]],
    policy: str,
    options: Mapping[str, Any],
    setting: Setting,
    on_episode: Callable[[Watched], None] = lambda _: None,
) -> list[Watched]:
    """Run (instruction, seed) episodes. Raises ValueError for what is unknown."""
    watched: list[Watched] = []
    backend, rig = make_backend(policy, options), Rig()
    config = LockstepConfig(cameras=backend.cameras, **asdict(setting))

    def take(time: int, thing: object) -> None:
        watched[-1].take(time, thing)

    lockstep = Lockstep(rig, backend, panda_limits(), config=config, observer=take)
    try:
        for instruction, seed in series:
            watched.append(Watched())
            run = lockstep.run_episode(instruction, seed)
            watched[-1].success = run.status.success
            watched[-1].interventions = run.interventions
            on_episode(watched[-1])
    finally:
        rig.close()
    return watched


def first_reason(reasons: Sequence[str]) -> str:
    """The gravest cause of a mode; empty: none."""
    return reasons[0] if reasons else ""


def streams(watched: Iterable[Watched], joints: int) -> list[ChunkStream]:
    """One for each source that published anything."""
    found = []
    for episode in watched:
        sources = dict.fromkeys(a.chunk.source_id for a in episode.arrivals)
        for source in sources:
            arrivals = [a for a in episode.arrivals if a.chunk.source_id == source]
            found.append(ChunkStream(arrivals, joints, episode.end, episode.followed()))
    return found


def plan_numbers(found: Sequence[ChunkStream]) -> dict[str, Any]:
    """Seams against inside [95th percentiles], gaps and ages of published plans."""
    ages = np.concatenate([stream.ages() for stream in found])
    gaps = [gap for stream in found for gap in stream.dry_seconds()]
    return {
        "chunks": sum(len(stream.arrivals) for stream in found),
        "dry": len(gaps),
        "longest_dry_seconds": round(max(gaps, default=0.0), 4),
        "age_p50": _rounded(np.percentile(ages, 50)),
        "age_p95": _rounded(np.percentile(ages, PERCENTILE)),
        "jumps": _jumps(found),
    }


def _jumps(found: Sequence[ChunkStream]) -> dict[str, dict[str, Any]]:
    seams, replaced, inside = (
        [jumps(stream) for stream in found]
        for jumps in (ChunkStream.seam_jumps, ChunkStream.replaced_jumps, ChunkStream.inner_jumps)
    )
    return {
        name: _compared(
            *(np.concatenate([x[name] for x in kind]) for kind in (seams, replaced, inside))
        )
        for name in ORDERS
    }


def _compared(seams: FloatArray, replaced: FloatArray, inside: FloatArray) -> dict[str, Any]:
    """95th percentiles: at seams, of what they replaced, and inside all chunks."""
    seam, before, within = (
        _rounded(np.percentile(x, PERCENTILE)) if len(x) else None
        for x in (seams, replaced, inside)
    )
    return {
        "seam_p95": seam,
        "replaced_p95": before,
        "inside_p95": within,
        "ratio": _rounded(seam / before) if seam is not None and before else None,
        "ratio_inside": _rounded(seam / within) if seam is not None and within else None,
        "seams": len(seams),
    }


def mode_shares(watched: Sequence[Watched]) -> dict[str, float]:
    """Share of the time that the gate spent in each mode, from its first NOMINAL on.

    Before that the arm waits for its first chunk, which is no answer to a plan.
    """
    time: dict[str, int] = {}
    for episode in watched:
        for begin, end, name in episode.spans()[episode.began :]:
            time[name] = time.get(name, 0) + end - begin
    return _shares(time)


def hold_shares(watched: Sequence[Watched]) -> dict[str, float]:
    """Share of the time held, from the first NOMINAL on, by the gravest cause."""
    time: dict[str, int] = {}
    for episode in watched:
        spans = zip(episode.spans(), episode.reasons, strict=True)
        for (begin, end, name), reason in list(spans)[episode.began :]:
            if name not in FOLLOWING:
                time[reason] = time.get(reason, 0) + end - begin
    return _shares(time)


def _shares(time: Mapping[str, int]) -> dict[str, float]:
    total = sum(time.values())
    return {name: round(value / total, 5) for name, value in time.items()} if total else {}


def summary(watched: Sequence[Watched], joints: int) -> dict[str, Any]:
    """Everything about the episodes of one setting."""
    counts: dict[str, int] = {}
    for episode in watched:
        for reason, count in episode.interventions.items():
            counts[reason] = counts.get(reason, 0) + count
    return {
        "episodes": len(watched),
        "successes": sum(episode.success for episode in watched),
        "seconds": round(sum(seconds(e.end - e.arrivals[0].time) for e in watched), 2),
        **plan_numbers(streams(watched, joints)),
        "gate_time": mode_shares(watched),
        "hold_time": hold_shares(watched),
        "interventions": counts,
    }


def _rounded(value: float | np.floating[Any]) -> float:
    return float(f"{float(value):.4g}")
