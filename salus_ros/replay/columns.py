"""Plain types of messages that were read together (`alike`), one for each row.

The same as `message_reading` makes of one message, whose checks are asked once for a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from salus_ros.interfaces import NANOSECONDS, JointState
from salus_ros.prediction.layout import PredictionResult
from salus_ros.replay.alike import Group
from salus_ros.signals.layout import SIGNAL_NAMES, SignalVector


class RecordedSignals(NamedTuple):
    """The signals of a step as they were published."""

    source_id: str
    chunk_number: int
    step: int
    observation_stamp: int
    signals: SignalVector


class RecordedGateState(NamedTuple):
    """What is read of a state of the gate: when [ns], and its `observation_age` [s]."""

    stamp: int
    observation_age: float


def stamps(group: Group, path: str) -> list[int]:
    """Times [ns] of a field."""
    whole = group.numbers[f"{path}.sec"].astype(np.int64) * NANOSECONDS
    found: list[int] = (whole + group.numbers[f"{path}.nanosec"]).tolist()
    return found


def joint_states(group: Group, joint_names: Sequence[str], gripper_name: str) -> list[JointState]:
    """In the order of the joints. Raises KeyError or ValueError where one has no position."""
    names = group.texts["name"]
    index = {name: place for place, name in enumerate(names)}
    order = [index[name] for name in joint_names]
    positions = _columns(group, "position", len(names))
    grippers: list[Any] = [None] * len(group.places)
    if gripper_name in index:
        grippers = positions[:, index[gripper_name]].tolist()
    others = (
        _columns(group, name, len(names))[:, order]
        if name in (group.numbers.dtype.names or ())
        else np.empty((len(group.places), 0))
        for name in ("velocity", "effort")
    )
    return list(
        map(JointState, stamps(group, "header.stamp"), positions[:, order], *others, grippers)
    )


def _columns(group: Group, name: str, count: int) -> Any:
    values = group.numbers[name]
    if values.shape[1] != count:
        raise ValueError(f"{values.shape[1]} values of {name} for {count} joints")
    return values


def signals(group: Group) -> list[RecordedSignals]:
    """Raises ValueError where the type has other signals."""
    values = np.stack([group.numbers[name] for name in SIGNAL_NAMES], axis=1, dtype=np.float32)
    vectors = map(SignalVector, values, group.numbers["valid"].tolist())
    return list(map(RecordedSignals, *_steps(group), vectors))


def _steps(group: Group) -> tuple[list[str], list[int], list[int], list[int]]:
    """Source, chunk, row and time of the observation [ns]."""
    source = [group.texts["source_id"]] * len(group.places)
    numbers = (group.numbers[name].tolist() for name in ("chunk_number", "step"))
    return (source, *numbers, stamps(group, "header.stamp"))


def predictions(group: Group) -> list[PredictionResult]:
    """Raises ValueError where the table has another size than it says."""
    count, types = len(group.places), tuple(group.texts["failure_types"])
    horizons = group.numbers["horizons"]
    tables = group.numbers["probabilities"].astype(np.float32)
    told = ("episode_failure_probability", "episode_score", "alarm_threshold")
    return list(
        map(
            PredictionResult,
            *_steps(group),
            map(bool, group.numbers["valid"].tolist()),
            map(tuple, horizons.tolist()),
            [types] * count,
            tables.reshape(count, horizons.shape[1], len(types)),
            *(group.numbers[name].tolist() for name in told),
            map(bool, group.numbers["alarm"].tolist()),
        )
    )


def gate_states(group: Group) -> list[RecordedGateState]:
    """When, and the observation's age."""
    ages = group.numbers["observation_age"].tolist()
    return list(map(RecordedGateState, stamps(group, "header.stamp"), ages))
