"""What the gate did as records for the journal: plain values that JSON can hold."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from types import MappingProxyType
from typing import Any

from salus_ros.interfaces import Instant
from salus_ros.supervision.interventions import Intervention, Kind
from salus_ros.supervision.modes import Mode

# Names and texts may come from a stranger's message: longer ones are cut. [characters]
_LONGEST_MESSAGE = 200
_LONGEST_NAME = 64
_MOST_REASONS = 12
_MOST_DETECTORS = 32
_NO_SCORES: Mapping[str, float] = MappingProxyType({})
_MODES = {mode: mode.name for mode in Mode}
_KINDS = {kind: kind.name.lower() for kind in Kind}


def intervention_record(
    act: Intervention,
    reasons: Sequence[str] = (),
    detectors: Mapping[str, float] = _NO_SCORES,
) -> dict[str, Any]:
    """One act of the gate.

    reasons: all causes in force afterwards, the most restrictive first. detectors: their scores in
    units of their thresholds, by name. Times in nanoseconds; a value that isn't there is null, an
    infinite one the string "inf" or "-inf", for JSON has neither.
    """
    return {
        "kind": _KINDS[act.kind],
        "wall": time.time_ns(),
        "ros": act.stamp.ros,
        "steady": act.stamp.steady,
        "intervention": act.sequence,
        "mode_before": _MODES[act.mode_before],
        "mode_after": _MODES[act.mode_after],
        "reason": act.reason[:_LONGEST_NAME],
        "reasons": [reason[:_LONGEST_NAME] for reason in reasons[:_MOST_REASONS]],
        "message": act.message[:_LONGEST_MESSAGE],
        "value": number(act.value),
        "bound": number(act.bound),
        "worst": number(act.worst_value),
        "count": act.count,
        "detectors": {k: number(v) for k, v in list(detectors.items())[:_MOST_DETECTORS]},
        "source_id": act.source_id[:_LONGEST_NAME],
        "chunk": act.chunk_number,
    }


def life_record(reason: str, before: Mode, after: Mode, now: Instant) -> dict[str, Any]:
    """The supervisor was activated or deactivated: no intervention, but a change of mode."""
    return {
        "kind": "event",
        "wall": time.time_ns(),
        "ros": now.ros,
        "steady": now.steady,
        "mode_before": _MODES[before],
        "mode_after": _MODES[after],
        "reason": reason,
        "message": f"the supervisor was {reason}",
    }


def number(value: float) -> float | str | None:
    """A number as JSON can hold it."""
    value = float(value)
    if isfinite(value):
        return value
    return None if isnan(value) else str(value)
