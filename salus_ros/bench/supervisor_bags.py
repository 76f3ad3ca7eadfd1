"""Recorded episodes from rosbag2 folders: the plans on /salus/action_chunk, without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from salus_ros.bench.supervisor_episodes import Ended, GateReported, PlanArrived, replay
from salus_ros.interfaces import NANOSECONDS, FloatArray, nanoseconds
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.detectors import DetectorError, Episode
from salus_ros.supervision.detectors.calibration import RATE_TOLERANCE, Identity
from salus_ros.supervision.detectors.plan_rows import TimedPlan

TOPIC = "/salus/action_chunk"
STATE_TOPIC = "/salus/supervisor_state"
EPISODE_TOPIC = "/sim/episode"
_ENDED = 1
_HOLD = 4
# A command farther from its plan than this [rad] is off it.
OFF_PLAN = GateConfig().deviation_bound
# A dimension's span counts as at least this part of the widest one's where the bag doesn't show it.
LEAST_SPAN = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class RecordedEpisodes:
    """Episodes, whom they are of, and the span of each action dimension [dims]."""

    episodes: list[Episode]
    identity: Identity
    ranges: FloatArray


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What a message says of itself, beside its plan."""

    source_id: str
    names: tuple[str, ...]
    time_step: int
    horizon: int


@dataclass(slots=True)
class _Run:
    """Chunks of one source, or of one episode, with what the gate reported meanwhile."""

    chunks: list[_Chunk]
    events: list[PlanArrived | GateReported | Ended]


def read_bags(folder: Path, robot: str) -> RecordedEpisodes:
    """All bags in a folder, itself or below; each source id, gap or episode of the rig by itself.

    Failed episodes of the rig are left out, and so are rows from while the gate held the arm, where
    the bag has its state. DetectorError, one line, for folders without usable bags and for bags of
    different joints or rates.
    """
    bags = sorted({path.parent for path in folder.rglob("metadata.yaml")})
    if not bags:
        raise DetectorError(f"{folder}: no rosbag2 folder (with metadata.yaml) in it")
    runs = [run for bag in bags for run in _runs(bag)]
    if not runs:
        raise DetectorError(f"{folder}: no chunks on {TOPIC} in {len(bags)} bags")
    identity = _identity(runs, robot)
    episodes = [episode for run in runs for episode in _replayed(run)]
    if not episodes:
        raise DetectorError(f"{folder}: the gate followed no plan in {len(bags)} bags")
    return RecordedEpisodes(episodes, identity, spans(episodes))


def _replayed(run: _Run) -> list[Episode]:
    """The last chunk counts for its execution horizon."""
    last = next(e for e in reversed(run.events) if isinstance(e, PlanArrived))
    end = last.time + run.chunks[-1].horizon * last.plan.step + 1
    return replay([*(e for e in run.events if e.time < end), Ended(end)])


def _runs(bag: Path) -> list[_Run]:
    """Chunks of one bag, those of an episode together."""
    topics = (TOPIC, EPISODE_TOPIC, STATE_TOPIC)
    try:
        with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            wanted = [c for c in reader.connections if c.topic in topics]
            messages = [
                (connection.topic, reader.deserialize(data, connection.msgtype))
                for connection, _, data in reader.messages(connections=wanted)
            ]
    except (AnyReaderError, OSError, KeyError, ValueError, AssertionError) as error:
        line = " ".join(str(error).split())
        raise DetectorError(f"{bag} can't be read as a bag: {line}") from None
    return _split(bag, messages)


def _split(bag: Path, messages: Sequence[tuple[str, Any]]) -> list[_Run]:
    runs = [_Run([], [])]
    newest: GateReported | None = None
    for topic, message in messages:
        if topic == EPISODE_TOPIC:
            if message.phase == _ENDED and not message.success:
                runs.pop()
            runs.append(_Run([], []))
        elif topic == STATE_TOPIC:
            newest = _reported(message)
            runs[-1].events.append(newest)
        else:
            chunk, arrived = _arrived(bag, message)
            if runs[-1].chunks and runs[-1].chunks[-1].source_id != chunk.source_id:
                # Whether the gate held before goes on.
                runs.append(_Run([], [] if newest is None else [newest]))
            runs[-1].chunks.append(chunk)
            runs[-1].events.append(arrived)
    return [run for run in runs if run.chunks]


def _reported(message: Any) -> GateReported:
    stamp = _time(message.header.stamp)
    return GateReported(stamp, message.mode >= _HOLD, message.plan_deviation > OFF_PLAN)


def _arrived(bag: Path, message: Any) -> tuple[_Chunk, PlanArrived]:
    names = (*message.joint_names, *([message.gripper_name] if message.gripper_name else []))
    values = np.asarray(message.actions, np.float64)
    step = float(message.time_step)
    columns = len(names)
    if not columns or not values.size or values.size % columns or not 0 < step < 10:
        raise DetectorError(
            f"{bag}: chunk {message.chunk_number} has {values.size} values in {columns} columns "
            f"and a time step of {step:g} s: leave that bag out"
        )
    start, time_step = _time(message.start_time), nanoseconds(step)
    # Plans begin a few rows before they come into force; those were judged with the plan before.
    arrival = start + message.first_fresh_step * time_step
    chunk = _Chunk(message.source_id, names, time_step, message.execution_horizon)
    return chunk, PlanArrived(arrival, TimedPlan(values.reshape(-1, columns), start, time_step))


def _time(stamp: Any) -> int:
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def _identity(runs: Sequence[_Run], robot: str) -> Identity:
    first = runs[0].chunks[0]
    for run in runs:
        for chunk in run.chunks:
            if chunk.names != first.names:
                raise DetectorError(f"chunks of {chunk.names} and of {first.names}: calibrate each")
            if abs(chunk.time_step / first.time_step - 1) > RATE_TOLERANCE:
                raise DetectorError(
                    f"chunks of {chunk.time_step} ns and of {first.time_step} ns a row: calibrate "
                    "each rate by itself"
                )
    return Identity(robot, first.names, NANOSECONDS / first.time_step)


def spans(episodes: Sequence[Episode]) -> FloatArray:
    """What each dimension [dims] spans in the recordings; DetectorError where nothing moves."""
    actions = np.concatenate([episode.actions for episode in episodes])
    found = np.ptp(actions, axis=0)
    if not np.isfinite(found).all() or not found.max() > 0:
        raise DetectorError(f"actions span {found.tolist()}: record a policy that moves the arm")
    return np.asarray(np.maximum(found, LEAST_SPAN * found.max()))
