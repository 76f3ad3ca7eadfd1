"""Recorded episodes from rosbag2 folders: the plans on /salus/action_chunk, without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from salus_ros.bench.supervisor_episodes import ArrivedChunk, rows_in_force
from salus_ros.interfaces import NANOSECONDS, ActionChunk, FloatArray, nanoseconds
from salus_ros.supervision.detectors import DetectorError, Episode
from salus_ros.supervision.detectors.calibration import RATE_TOLERANCE, Identity

TOPIC = "/salus/action_chunk"
EPISODE_TOPIC = "/sim/episode"
_ENDED = 1
# A dimension's span counts as at least this part of the widest one's where the bag doesn't show it.
LEAST_SPAN = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class RecordedEpisodes:
    """Episodes, whom they are of, and the span of each action dimension [dims]."""

    episodes: list[Episode]
    identity: Identity
    ranges: FloatArray


def read_bags(folder: Path, robot: str) -> RecordedEpisodes:
    """All bags in a folder, itself or below; each source id, gap or episode of the rig by itself.

    Failed episodes of the rig are left out. DetectorError, one line, for folders without usable
    bags and for bags of different joints or rates.
    """
    bags = sorted({path.parent for path in folder.rglob("metadata.yaml")})
    if not bags:
        raise DetectorError(f"{folder}: no rosbag2 folder (with metadata.yaml) in it")
    runs = [run for bag in bags for run in _runs(bag)]
    if not runs:
        raise DetectorError(f"{folder}: no chunks on {TOPIC} in {len(bags)} bags")
    identity = _identity(runs, robot)
    episodes = [episode for run in runs for episode in rows_in_force(run)]
    return RecordedEpisodes(episodes, identity, spans(episodes))


def _runs(bag: Path) -> list[list[ArrivedChunk]]:
    """Chunks of one bag, those of an episode together."""
    try:
        with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            wanted = [c for c in reader.connections if c.topic in (TOPIC, EPISODE_TOPIC)]
            messages = [
                (connection.topic, reader.deserialize(data, connection.msgtype))
                for connection, _, data in reader.messages(connections=wanted)
            ]
    except (AnyReaderError, OSError, KeyError, ValueError, AssertionError) as error:
        line = " ".join(str(error).split())
        raise DetectorError(f"{bag} can't be read as a bag: {line}") from None
    return _split(bag, messages)


def _split(bag: Path, messages: Sequence[tuple[str, Any]]) -> list[list[ArrivedChunk]]:
    runs: list[list[ArrivedChunk]] = [[]]
    for topic, message in messages:
        if topic == EPISODE_TOPIC:
            if message.phase == _ENDED and not message.success:
                runs.pop()
            runs.append([])
            continue
        arrived = _arrived(bag, message)
        if runs[-1] and runs[-1][-1].chunk.source_id != arrived.chunk.source_id:
            runs.append([])
        runs[-1].append(arrived)
    return [run for run in runs if run]


def _arrived(bag: Path, message: Any) -> ArrivedChunk:
    columns = len(message.joint_names) + bool(message.gripper_name)
    values = np.asarray(message.actions, np.float64)
    step = float(message.time_step)
    if not columns or not values.size or values.size % columns or not 0 < step < 10:
        raise DetectorError(
            f"{bag}: chunk {message.chunk_number} has {values.size} values in {columns} columns "
            f"and a time step of {step:g} s: leave that bag out"
        )
    stamp = _time(message.header.stamp)
    start, time_step = _time(message.start_time), nanoseconds(step)
    # Plans begin a few rows before they come into force; those were judged with the plan before.
    arrival = start + message.first_fresh_step * time_step
    chunk = ActionChunk(
        source_id=message.source_id,
        number=message.chunk_number,
        joint_names=tuple(message.joint_names),
        gripper_name=message.gripper_name,
        start_time=start,
        time_step=time_step,
        actions=values.reshape(-1, columns),
        first_fresh_step=message.first_fresh_step,
        execution_horizon=message.execution_horizon,
        observation_stamp=stamp,
    )
    return ArrivedChunk(chunk, arrival)


def _time(stamp: Any) -> int:
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def _identity(runs: Sequence[Sequence[ArrivedChunk]], robot: str) -> Identity:
    first = runs[0][0].chunk
    names = _names(first)
    for run in runs:
        for arrived in run:
            chunk = arrived.chunk
            if _names(chunk) != names:
                raise DetectorError(f"chunks of {_names(chunk)} and of {names}: calibrate each")
            if abs(chunk.time_step / first.time_step - 1) > RATE_TOLERANCE:
                raise DetectorError(
                    f"chunks of {chunk.time_step} ns and of {first.time_step} ns a row: calibrate "
                    "each rate by itself"
                )
    return Identity(robot, names, NANOSECONDS / first.time_step)


def _names(chunk: ActionChunk) -> tuple[str, ...]:
    return (*chunk.joint_names, chunk.gripper_name) if chunk.gripper_name else chunk.joint_names


def spans(episodes: Sequence[Episode]) -> FloatArray:
    """What each dimension [dims] spans in the recordings; DetectorError where nothing moves."""
    actions = np.concatenate([episode.actions for episode in episodes])
    found = np.ptp(actions, axis=0)
    if not np.isfinite(found).all() or not found.max() > 0:
        raise DetectorError(f"actions span {found.tolist()}: record a policy that moves the arm")
    return np.asarray(np.maximum(found, LEAST_SPAN * found.max()))
