"""What a replay does otherwise than the recording, from commands to alarms."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from salus_ros import message_reading
from salus_ros.interfaces import ActionChunk, FloatArray, JointCommand, JointState, seconds
from salus_ros.nodes import topics
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.signals.layout import SIGNAL_NAMES
from salus_ros.supervision.interventions import Intervention
from salus_ros.supervision.modes import Mode

PERCENTILES = (50, 95, 99)
_NAMES = (*(f"p{p}" for p in PERCENTILES), "max")
# Moments that are listed, at most.
MOMENTS_MAX = 200


def percentiles(values: Sequence[float] | FloatArray) -> dict[str, float] | None:
    """50th, 95th, 99th percentile and largest; None where there are no values."""
    values = np.asarray(values, np.float64)
    if not values.size:
        return None
    found = [*np.percentile(values, PERCENTILES).tolist(), float(values.max())]
    return dict(zip(_NAMES, found, strict=True))


def differences(run: RecordedRun, outputs: Outputs) -> dict[str, Any]:
    """All of them; a part is None where the recording lacks what it would be compared with."""
    return {
        "commands": command_differences(run, outputs),
        "interventions": intervention_differences(run, outputs),
        "alarms": alarm_differences(run, outputs),
        "signals": signal_differences(run, outputs),
        "observation_age": age_differences(run, outputs),
    }


def command_differences(run: RecordedRun, outputs: Outputs) -> dict[str, Any] | None:
    """Per joint [rad], over the ticks whose command was recorded."""
    pairs = [
        (mine, theirs)
        for mine, theirs in zip(outputs.commands, outputs.recorded, strict=True)
        if theirs is not None
    ]
    if not pairs:
        return None
    apart = np.abs([mine.positions - theirs.positions for mine, theirs in pairs])
    equal = [same_command(mine, theirs) for mine, theirs in pairs]
    return {
        "compared": len(pairs),
        "not_recorded": len(outputs.commands) - len(pairs),
        "identical": all(equal),
        "identical_ticks": sum(equal),
        "first_difference": _first_difference(outputs, equal),
        "joints": _by_joint(run.joint_names, apart),
    }


def _by_joint(names: Sequence[str], apart: FloatArray) -> dict[str, dict[str, float]]:
    """`percentiles` of each column, in one go."""
    rows = [*np.percentile(apart, PERCENTILES, axis=0).tolist(), apart.max(axis=0).tolist()]
    return {
        name: dict(zip(_NAMES, column, strict=True))
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def same_command(mine: JointCommand, theirs: JointState) -> bool:
    """Whether a replayed command is a recorded one, bit by bit."""
    return (
        mine.positions.tobytes() == theirs.positions.tobytes()
        and (not theirs.velocities.size or mine.velocities.tobytes() == theirs.velocities.tobytes())
        and mine.gripper == theirs.gripper
    )


def _first_difference(outputs: Outputs, equal: Sequence[bool]) -> float | None:
    """When [s] since the first tick; None: never."""
    ticks = [t for t, c in zip(outputs.ticks, outputs.recorded, strict=True) if c is not None]
    if all(equal):
        return None
    return seconds(ticks[list(equal).index(False)] - outputs.ticks[0])


def _act(stamp: int, kind: int, before: int, after: int, reason: str) -> tuple[Any, ...]:
    return stamp, kind, before, after, reason


def acts_of(interventions: Sequence[Intervention]) -> list[tuple[Any, ...]]:
    """When, what kind, which modes, why: of replayed interventions."""
    return [
        _act(i.stamp.ros, int(i.kind), int(i.mode_before), int(i.mode_after), i.reason)
        for i in interventions
    ]


def recorded_acts(run: RecordedRun) -> list[tuple[Any, ...]]:
    """The same of recorded ones."""
    messages = (event.content for event in run.of(topics.INTERVENTIONS))
    return [
        _act(
            message_reading.stamp_of(m.header.stamp),
            int(m.kind),
            int(m.mode_before),
            int(m.mode_after),
            str(m.reason),
        )
        for m in messages
    ]


def intervention_differences(run: RecordedRun, outputs: Outputs) -> dict[str, Any] | None:
    """Acts of the recording alone and of the replay alone, by reason and with their moments."""
    if not outputs.ticks:
        return None
    first = outputs.ticks[0]
    theirs = [act for act in recorded_acts(run) if act[0] >= first]
    if not theirs and not run.of(topics.SUPERVISOR_STATE):
        return None
    mine = acts_of(outputs.interventions)
    only_mine, only_theirs = Counter(mine) - Counter(theirs), Counter(theirs) - Counter(mine)
    return {
        "identical": mine == theirs,
        "recorded": len(theirs),
        "replayed": len(mine),
        "only_recorded": moments(only_theirs.elements(), first),
        "only_replayed": moments(only_mine.elements(), first),
    }


def moments(acts: Any, first: int) -> list[dict[str, Any]]:
    """Acts for people, the time [s] since the first tick."""
    told = sorted(acts)[:MOMENTS_MAX]
    return [
        {
            "time": round(seconds(stamp - first), 6),
            "reason": reason,
            "mode_before": Mode(before).name,
            "mode_after": Mode(after).name,
        }
        for stamp, _, before, after, reason in told
    ]


def alarm_differences(run: RecordedRun, outputs: Outputs) -> dict[str, Any] | None:
    """Steps at which the alarm is on in one and not in the other."""
    theirs = {
        (p.source_id, p.chunk_number, p.step): p
        for p in (event.content for event in run.of(topics.FAILURE_PREDICTION))
        if p.valid
    }
    mine = {(p.source_id, p.chunk_number, p.step): p for _, p in outputs.predictions if p.valid}
    common = theirs.keys() & mine.keys()
    if not common:
        return None
    apart = [float(np.abs(mine[k].probabilities - theirs[k].probabilities).max()) for k in common]
    return {
        "compared": len(common),
        "only_recorded": sum(theirs[k].alarm and not mine[k].alarm for k in common),
        "only_replayed": sum(mine[k].alarm and not theirs[k].alarm for k in common),
        "probabilities": percentiles(apart),
    }


def signal_differences(run: RecordedRun, outputs: Outputs) -> dict[str, Any] | None:
    """Of steps that both have: largest difference of each signal, and steps of other validity."""
    recorded = [event.content for event in run.of(topics.SIGNALS)]
    theirs = {(s.source_id, s.chunk_number, s.step): s.signals for s in recorded}
    mine = {
        (s.step.source_id, s.step.chunk_number, s.step.step): s.signals for _, s in outputs.steps
    }
    common = sorted(theirs.keys() & mine.keys())
    if not common:
        return None
    a = np.array([mine[k].values for k in common], np.float64)
    b = np.array([theirs[k].values for k in common], np.float64)
    bits = [(mine[k].valid, theirs[k].valid) for k in common]
    apart = np.nan_to_num(np.abs(a - b))
    return {
        "compared": len(common),
        "only_recorded": len(theirs) - len(common),
        "only_replayed": len(mine) - len(common),
        "other_validity": sum(x != y for x, y in bits),
        "largest": dict(zip(SIGNAL_NAMES, apart.max(axis=0).tolist(), strict=True)),
    }


def observation_ages(run: RecordedRun, outputs: Outputs) -> FloatArray:
    """Age of the observation behind the plan that is followed [s], one a tick; NaN: none."""
    stamps = {
        (chunk.source_id, chunk.number): chunk.observation_stamp
        for chunk in (event.content.chunk for event in run.of(topics.ACTION_CHUNK))
        if isinstance(chunk, ActionChunk)
    } | {(chunk.source_id, chunk.number): chunk.observation_stamp for _, chunk in outputs.chunks}
    return np.array(
        [
            seconds(tick - stamps[plan]) if plan in stamps else np.nan
            for tick, plan in zip(outputs.ticks, outputs.plans, strict=True)
        ]
    )


def age_differences(run: RecordedRun, outputs: Outputs) -> dict[str, Any] | None:
    """The same at the ticks before the recorded states of the gate, beside what they said."""
    ages = observation_ages(run, outputs)
    theirs, mine = [], []
    for event in run.of(topics.SUPERVISOR_STATE):
        stamp, age = event.content
        tick = bisect_right(outputs.ticks, stamp) - 1
        if tick >= 0 and age >= 0 and np.isfinite(ages[tick]):
            theirs.append(age - seconds(stamp - outputs.ticks[tick]))
            mine.append(float(ages[tick]))
    if not theirs:
        return None
    return {"recorded": percentiles(theirs), "replayed": percentiles(mine)}
