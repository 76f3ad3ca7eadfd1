"""A compiled configuration measured once more, in a fresh process, against its own intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from salus_ros.deploy.deployment import Deployment
from salus_ros.deploy.levers import CompileError, Levers
from salus_ros.deploy.measure import Plan, full_chunks, screen, time_calls
from salus_ros.deploy.subject import Subject, make_subject
from salus_ros.deploy.worker import Result, in_fresh_process

TIMED = ("latency_p50", "latency_p99", "peak_memory_mb")
EXACT = ("rmse", "cosine", "weights_mb")
ROUNDING = 1e-3
"""Of what doesn't depend on time: sums in another order, where threads share them out anew."""


@dataclass(frozen=True, slots=True)
class Check:
    """An axis: its stated interval, what was measured now, and whether that is inside."""

    axis: str
    low: float
    high: float
    measured: float

    @property
    def inside(self) -> bool:
        """Ends included."""
        return self.low <= self.measured <= self.high


def subject_of(deployment: Deployment) -> Subject:
    """The policy that a deployment is of. Raises CompileError for other weights."""
    checkpoint = str(deployment.options.get("checkpoint") or "")
    inputs = int(deployment.plan["inputs"])
    mapping = str(deployment.options.get("mapping") or "")
    subject = make_subject(checkpoint or deployment.policy, deployment.device, inputs, mapping)
    if subject.digest != deployment.digest:
        raise CompileError("it was compiled for other weights: run `salus compile` again")
    return subject


def verify(deployment: Deployment, subject: Subject) -> tuple[list[Check], bool]:
    """Checks of all measured axes, and whether the parity gate lets it through again.

    Raises CompileError where it can't be run.
    """
    missing = {*TIMED} - {*deployment.intervals} | {*EXACT} - {*deployment.axes}
    if missing:
        raise CompileError(f"the file has no {', '.join(sorted(missing))}: compile again")
    levers = Levers(**dict(deployment.levers)).without_horizon()
    plan = Plan(int(deployment.plan["calls"]), 1)
    full = _value(in_fresh_process(full_chunks, subject))
    screened = _value(in_fresh_process(screen, subject, levers, full))
    timed = _value(in_fresh_process(time_calls, subject, levers, plan))
    checks = []
    for name in TIMED:
        low, high = deployment.intervals[name]
        checks.append(Check(name, float(low), float(high), timed[name]))
    for name in EXACT:
        stated = float(deployment.axes[name])
        room = ROUNDING * max(abs(stated), 1e-3)
        checks.append(Check(name, stated - room, stated + room, screened[name]))
    return checks, bool(screened["parity"]["passed"])


def _value(result: Result) -> Any:
    if "problem" in result:
        raise CompileError(f"it can't be measured again: {result['problem']}")
    return result["value"]
