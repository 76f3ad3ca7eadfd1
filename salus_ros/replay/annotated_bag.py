"""A bag with all that was recorded and, beside it under /replay, what came out of the replay."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from salus_ros.nodes import topics
from salus_ros.replay.bag_reader import RawMessage, read_raw
from salus_ros.replay.bag_writer import BagWriter
from salus_ros.replay.errors import BagError
from salus_ros.replay.messages import MessageEncoder
from salus_ros.replay.offered_qos import qos_of_graph
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.replay.topic import Message

PREFIX = "/replay"
PARTIAL = ".partial"


def annotated_bag(run: RecordedRun, outputs: Outputs, folder: Path) -> None:
    """Write the bag to a new folder, which appears once it is whole. Raises BagError."""
    if folder.exists():
        raise BagError(f"{folder} exists: give another --out")
    partial = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    writer = BagWriter(partial, compress=True, file_name=folder.name)
    numbers: dict[str, int] = {}
    messages: list[Message] = []
    for raw in read_raw(run.bag, set):
        if raw.topic not in numbers:
            numbers[raw.topic] = writer.add_topic(
                raw.topic, raw.kind, [qos_of_graph(raw.topic)], _definition(raw)
            )
        messages.append(Message(numbers[raw.topic], raw.time, raw.data))
    encoder = MessageEncoder(run.joint_names, run.gripper_name)
    for time, thing in _things(outputs):
        topic, kind, data = encoder.encode(thing, time)
        name = PREFIX + topic
        if name not in numbers:
            numbers[name] = writer.add_topic(name, kind, [qos_of_graph(topic)])
        messages.append(Message(numbers[name], time + run.offset, data))
    writer.append(sorted(messages, key=lambda message: message.time))
    writer.close()
    partial.replace(folder)


def _definition(raw: RawMessage) -> tuple[str, str]:
    """Text and hash of a type as the bag itself defines it."""
    return raw.store.generate_msgdef(raw.kind, ros_version=2)[0], raw.store.hash_rihs01(raw.kind)


def _things(outputs: Outputs) -> list[tuple[int, Any]]:
    """All outputs with their times [ns of the stamps' clock]."""
    return [
        *zip(outputs.ticks, outputs.commands, strict=True),
        *outputs.states,
        *outputs.steps,
        *outputs.predictions,
        *outputs.chunks,
        *((record.stamp.ros, record) for record in outputs.interventions),
    ]


REPLAYED = tuple(
    PREFIX + topic
    for topic in (
        topics.JOINT_COMMANDS,
        topics.SUPERVISOR_STATE,
        topics.SIGNALS,
        topics.FAILURE_PREDICTION,
        topics.ACTION_CHUNK,
        topics.INTERVENTIONS,
    )
)
