"""The conditions of LIMITED, and the records that the gate makes of them and of its modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

from salus_ros.interfaces import Instant
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.interventions import InterventionQueue, Kind, LastingCondition
from salus_ros.supervision.modes import CAUSES, MODE_TEXTS, Cause, Mode


class LimitedConditions:
    """What makes a tick LIMITED; each condition is one record at its begin and one at its end."""

    def __init__(self, config: GateConfig, queue: InterventionQueue) -> None:
        clear_ticks = round(config.limited_clear_time * config.rate)
        self._queue = queue
        self._conditions = {
            "plan_deviation": LastingCondition(config.deviation_bound, clear_ticks),
            "plan_exceeds_limits": LastingCondition(1.0, 0),
            "tool_speed": LastingCondition(1.0, clear_ticks),
            "gripper_rate": LastingCondition(config.gripper_lag, 0),
        }

    def retune(self, config: GateConfig) -> None:
        """Use other bounds from now on."""
        self._conditions["plan_deviation"].bound = config.deviation_bound
        self._conditions["gripper_rate"].bound = config.gripper_lag

    def causes(self) -> list[Cause]:
        """Those in force."""
        return [
            Cause(name, value=condition.worst, bound=condition.bound)
            for name, condition in self._conditions.items()
            if condition.active
        ]

    def judge(
        self, values: Mapping[str, float], mode: Mode, plan: tuple[str, int], now: Instant
    ) -> None:
        """Judge a tick's values, by the conditions' names; plan: source and number."""
        for name, condition in self._conditions.items():
            kind = condition.update(values[name])
            if kind is not None:
                self._record(name, kind, mode, plan, now)

    def end(self, mode: Mode, plan: tuple[str, int], now: Instant) -> None:
        """No plan is followed any more: end them all."""
        for name, condition in self._conditions.items():
            kind = condition.end()
            if kind is not None:
                self._record(name, kind, mode, plan, now)

    def _record(
        self, name: str, kind: Kind, mode: Mode, plan: tuple[str, int], now: Instant
    ) -> None:
        condition, begins = self._conditions[name], kind is Kind.BEGIN
        limited = any(other.active for other in self._conditions.values())
        following = Mode.LIMITED if limited else Mode.NOMINAL
        self._queue.record(
            now,
            mode,
            mode if mode >= Mode.HOLD else following,
            kind,
            name,
            CAUSES[name].text,
            source_id=plan[0],
            chunk_number=plan[1],
            value=condition.worst if begins else nan,
            bound=condition.bound,
            count=0 if begins else condition.count,
            worst_value=nan if begins else condition.worst,
        )


def record_mode(
    queue: InterventionQueue,
    before: Mode,
    after: Mode,
    causes: Sequence[Cause],
    plan: tuple[str, int],
    now: Instant,
) -> None:
    """Record a change of mode with its first cause; plan: source and number."""
    cause = causes[0] if causes else None
    queue.record(
        now,
        before,
        after,
        Kind.EVENT,
        _reason(before, after, cause),
        f"{after.name}: {MODE_TEXTS[after] if cause is None else cause.text}",
        source_id=plan[0],
        chunk_number=plan[1],
        value=nan if cause is None else cause.value,
        bound=nan if cause is None else cause.bound,
    )


def _reason(before: Mode, after: Mode, cause: Cause | None) -> str:
    if cause is not None and after >= Mode.SLOW:
        return cause.name
    return "resumed" if before >= Mode.HOLD else "full_speed"
