"""The measured search: screen every configuration, drop what can't matter, time the rest well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from salus_ros.deploy.cache import Cache
from salus_ros.deploy.levers import CompileError, Grid, Levers
from salus_ros.deploy.measure import Plan, full_chunks, screen, time_calls
from salus_ros.deploy.prediction_interval import prediction_interval
from salus_ros.deploy.subject import Subject
from salus_ros.deploy.worker import Result, in_fresh_process
from salus_ros.interfaces import FloatArray

Run = Callable[..., Result]
Say = Callable[[str, int, int], None]
"""What is being done, how many of it are done, of how many."""

EXACT = ("weights_mb", "rmse")
MARGIN = 1.15
"""A screened latency must be this much longer for a configuration to be dropped for it; as much
more memory counts as no worse: of a process on a CPU, most is PyTorch's."""
TIMED = ("latency_p50", "latency_p99", "peak_memory_mb", "joules")


@dataclass(slots=True)
class Candidate:
    """A configuration and what is known of it.

    screened: see measure.screen. timed: of each fresh process. out: why it isn't returned, "" where
    it may be.
    """

    levers: Levers
    screened: dict[str, Any] = field(default_factory=dict)
    timed: list[dict[str, Any]] = field(default_factory=list)
    out: str = ""

    @property
    def measured(self) -> bool:
        """Whether it can be chosen."""
        return not self.out and bool(self.timed)

    def estimates(self) -> dict[str, tuple[float, float, float]]:
        """Value and interval of what was timed: the geometric mean over processes, and where
        another fresh process is expected to measure, at 95 %.
        """
        found = {}
        for name in TIMED:
            values = [t[name] for t in self.timed if t.get(name) is not None]
            if values and len(values) == len(self.timed):
                found[name] = prediction_interval(np.array(values))
        return found


@dataclass(slots=True)
class Search:
    """See `run`. calls `runner` for every measurement."""

    subject: Subject
    grid: Grid
    plan: Plan
    cache: Cache
    say: Say = lambda *_: None
    runner: Run = in_fresh_process
    gate_refused: bool | None = None

    def run(self) -> list[Candidate]:
        """All configurations of the grid, measured, or with the reason why not.

        Raises CompileError where even the full policy can't be run.
        """
        full = self._full()
        candidates = [Candidate(levers) for levers in self._ordered()]
        for number, candidate in enumerate(candidates):
            self.say("screening", number, len(candidates))
            self._screen(candidate, candidates[:number], full)
        for candidate in candidates:
            if candidate.levers != self.subject.grid().full:  # what all others are told against
                candidate.out = candidate.out or _dominated(candidate, candidates)
        remaining = [candidate for candidate in candidates if not candidate.out]
        rounds = [(n, c) for n in range(self.plan.processes) for c in remaining]
        for done, (number, candidate) in enumerate(rounds):
            self.say("timing", done, len(rounds))
            self._time(candidate, number)
        return candidates

    def _ordered(self) -> list[Levers]:
        """Kernels by themselves first: they tell what needs no further look."""
        full = self.subject.grid().full
        return sorted(self.grid.configurations(), key=lambda levers: not _is_base(levers, full))

    def gate_refuses(self, full: FloatArray) -> bool | None:
        """Whether the parity gate refuses a kernel that is broken on purpose; None: none to break.

        A gate that lets it through is no gate.
        """
        levers = replace(self.subject.grid().full, precision="int8")
        if "int8" not in self.subject.grid().values["precision"]:
            return None
        result = self._cached("broken kernel", levers, screen, full, True)
        return None if "problem" in result else not result["value"]["parity"]["passed"]

    def _full(self) -> FloatArray:
        self.say("full precision and steps", 0, 1)
        result = self.runner(full_chunks, self.subject)
        if "problem" in result:
            raise CompileError(f"the policy doesn't run in full: {result['problem']}")
        full: FloatArray = result["value"]
        self.gate_refused = self.gate_refuses(full)
        if self.gate_refused is False:
            raise CompileError(
                "the parity gate let a kernel through that was broken on purpose: this is a bug"
            )
        return full

    def _screen(self, candidate: Candidate, before: list[Candidate], full: FloatArray) -> None:
        candidate.out = _ruled_out(candidate.levers, before, self.subject.grid().full)
        if candidate.out:
            return
        result = self._cached("screen", candidate.levers, screen, full)
        if "problem" in result:
            candidate.out = result["problem"]
            return
        candidate.screened = result["value"]
        if not candidate.screened["parity"]["passed"]:
            candidate.out = PARITY

    def _time(self, candidate: Candidate, number: int) -> None:
        if candidate.out:
            return
        result = self._cached(f"time {number}", candidate.levers, time_calls, self.plan)
        if "problem" in result:
            candidate.out = result["problem"]
        else:
            candidate.timed.append(result["value"])

    def _cached(
        self, stage: str, levers: Levers, function: Callable[..., Any], *arguments: Any
    ) -> Result:
        result = self.cache.get(stage, levers)
        if result is None:
            result = self.runner(function, self.subject, levers, *arguments)
            if "problem" not in result:  # which may be over the next time
                self.cache.put(stage, levers, result)
        return result


PARITY = "fails the parity gate"


def _ruled_out(levers: Levers, before: list[Candidate], full: Levers) -> str:
    """Whether what was seen of its precision and sampler alone says enough.

    A kernel that is wrong, doesn't run, or is beaten in every way with all else in full is not
    tried with fewer steps and exits, which act on every kernel alike.
    """
    base = replace(full, precision=levers.precision, sampler=levers.sampler)
    if levers == base:
        return ""
    seen = next((c for c in before if c.levers == base), None)
    if seen is None:
        return ""
    if seen.out:
        return seen.out if seen.out.startswith("as ") else f"as {base}: {seen.out}"
    others = [c for c in before if _is_base(c.levers, full)]
    by = _dominated(seen, others)
    return f"as {base}: {by}" if by else ""


def _is_base(levers: Levers, full: Levers) -> bool:
    return levers == replace(full, precision=levers.precision, sampler=levers.sampler)


def _dominated(candidate: Candidate, others: list[Candidate]) -> str:
    """Why it can't be on the frontier; "" where it may be."""
    for other in others:
        if other is not candidate and not other.out and _beats(other.screened, candidate.screened):
            return f"dominated by {other.levers}"
    return ""


def _beats(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether a is clearly faster and in nothing worse."""
    if not a or not b:
        return False
    faster = all(a[n] * MARGIN < b[n] for n in ("latency_p50", "latency_p99"))
    no_worse = all(a[n] <= b[n] * (1.0 + 1e-6) + 1e-9 for n in EXACT)
    return faster and no_worse and a["peak_memory_mb"] <= b["peak_memory_mb"] * MARGIN
