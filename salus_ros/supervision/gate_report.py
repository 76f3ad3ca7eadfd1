"""What the gate reports of itself: snapshots, and what it asks for."""

from __future__ import annotations

from collections.abc import Sequence

from salus_ros.diagnosis import Diagnosis, Level
from salus_ros.interfaces import Instant
from salus_ros.supervision.activation import Activation
from salus_ros.supervision.command_clock import CommandClock
from salus_ros.supervision.gate_state import (
    HUMAN_REQUESTED,
    NEW_EPISODE,
    RETRY_REQUESTED,
    GateState,
)
from salus_ros.supervision.interventions import InterventionQueue, Kind
from salus_ros.supervision.modes import CAUSES, MODE_TEXTS, Mode


def gate_state(
    parts: Activation, mode: Mode, clock: CommandClock, interventions: int, now: Instant
) -> GateState:
    """Snapshot for publishing; interventions: since the activation."""
    plan = parts.plans.plan
    causes = parts.machine.causes if mode is not Mode.INACTIVE else ()
    text = causes[0].text if causes else MODE_TEXTS[mode]
    return GateState(
        mode=mode,
        reasons=tuple(cause.name for cause in causes),
        text=f"{mode.name}: {text}",
        at_rest=parts.generator.at_rest,
        source_id="" if plan is None else plan.source_id,
        chunk_number=0 if plan is None else plan.number,
        plan_step=-1 if plan is None else plan.row(parts.plans.clock.time),
        observation_age=-1.0 if plan is None else plan.observation.seconds(now),
        plan_deviation=parts.judge.deviation,
        tracking_error=parts.measurement.distance(parts.generator.state[0]),
        commands_sent=clock.sent,
        missed_deadlines=clock.missed,
        chunks_accepted=parts.reception.accepted,
        chunks_rejected=parts.reception.rejected,
        interventions=interventions,
        requests=parts.prediction.requests,
    )


def gate_diagnosis(node: str, mode: Mode, reasons: Sequence[str]) -> Diagnosis:
    """A latched stop is an ERROR; whatever else keeps the arm from its plan, a WARN."""
    latched, kept = mode >= Mode.STOP, mode > Mode.NOMINAL
    level = Level.ERROR if latched else Level.WARN if kept else Level.OK
    reasons = reasons if kept else ()
    text = "; ".join(CAUSES[reason].text for reason in reasons) or MODE_TEXTS[mode]
    values = {"mode": mode.name, "reasons": ", ".join(reasons)}
    return Diagnosis(f"{node}: gate", level, f"{mode.name}: {text}", values)


def record_new_episode(parts: Activation, queue: InterventionQueue, now: Instant) -> None:
    """Record that an episode begins."""
    mode = parts.machine.mode
    text = "an episode begins: what was predicted of the last one is over"
    queue.record(now, mode, mode, Kind.EVENT, NEW_EPISODE, text)


def record_request(parts: Activation, queue: InterventionQueue, now: Instant) -> None:
    """Record a request for a retry or a human, where this tick has made one."""
    asked = parts.prediction.take_request()
    if asked is None:
        return
    mode, (source_id, chunk_number) = parts.machine.mode, parts.plans.id
    queue.record(
        now,
        mode,
        mode,
        Kind.EVENT,
        HUMAN_REQUESTED if asked.humans else RETRY_REQUESTED,
        asked.text,
        source_id=source_id,
        chunk_number=chunk_number,
        value=float(asked.retries),
        bound=float(parts.config.retries_max),
    )
