"""When the nodes heard what the recorder heard: it is a process of its own, and may be later."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from salus_ros.interfaces import ActionChunk, FloatArray
from salus_ros.nodes import topics
from salus_ros.prediction.layout import PredictionResult
from salus_ros.replay.event_reader import Event
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.supervision.gate_trace import EventKind, GateEvent

# A chunk, by source and number; a step of it, with its row.
Chunk = tuple[str, int]
Step = tuple[str, int, int]


def step_of(found: PredictionResult) -> Step:
    """Which step a prediction is of."""
    return found.source_id, found.chunk_number, found.step


def as_heard(run: RecordedRun, told: Iterable[GateEvent]) -> list[Event]:
    """The recording's events in the order in which the signals' node heard them.

    Joint states come when the gate heard them, a chunk and its state when the chunk's first
    recorded step was due, all others when the recorder had them. A chunk of which no step was
    executed is left out.
    """
    joints = {e.number: e.now.ros for e in told if e.kind is EventKind.JOINTS}
    arrivals = _arrivals(run)
    newest = dict(sorted(arrivals))

    def heard(event: Event) -> int | None:
        now: int = event.time - run.offset
        content = event.content
        if event.topic == topics.JOINT_STATES:
            return min(now, joints.get(content.stamp, now))
        if event.topic == topics.POLICY_STATE:
            state = content.state
            return min(now, arrivals.get((state.source_id, state.chunk_number), now))
        if event.topic == topics.ACTION_CHUNK and isinstance(content.chunk, ActionChunk):
            source, number = content.chunk.source_id, content.chunk.number
            passed = number < newest.get(source, 0)
            return arrivals.get((source, number), None if passed else now)
        return now

    moved = [(heard(event), event) for event in run.events]
    found = [event._replace(time=t + run.offset) for t, event in moved if t is not None]
    return sorted(found, key=lambda event: event.time)


def _arrivals(run: RecordedRun) -> dict[Chunk, int]:
    """When each chunk came to the signals [ns of the stamps' clock], as its recorded steps tell.

    It came before its first step was due, and before the next one of the chunk before it was.
    """
    rows = _recorded_rows(run)
    arrivals: dict[Chunk, int] = {}
    before: ActionChunk | None = None
    for event in run.of(topics.ACTION_CHUNK):
        chunk: Any = event.content.chunk
        if not isinstance(chunk, ActionChunk) or (chunk.source_id, chunk.number) not in rows:
            continue
        key = chunk.source_id, chunk.number
        due = chunk.start_time + min(rows[key]) * chunk.time_step
        if before is not None and before.source_id == chunk.source_id:
            row = max(rows[before.source_id, before.number]) + 1
            if row < len(before.actions):
                due = min(due, before.start_time + row * before.time_step)
        arrivals[key] = max(due, chunk.observation_stamp)
        before = chunk
    return arrivals


def _recorded_rows(run: RecordedRun) -> dict[Chunk, list[int]]:
    rows: defaultdict[Chunk, list[int]] = defaultdict(list)
    for topic in (topics.SIGNALS, topics.FAILURE_PREDICTION):
        for event in run.of(topic):
            of = event.content
            rows[of.source_id, int(of.chunk_number)].append(int(of.step))
    return dict(rows)


def heard_predictions(run: RecordedRun, told: Iterable[GateEvent]) -> Iterator[Step | None]:
    """The step of each prediction that the live gate heard; None where the bag doesn't tell.

    The trace holds what a prediction said, not whose it was: they are compared, in order.
    """
    recorded = [event.content for event in run.of(topics.FAILURE_PREDICTION)]
    place = 0
    for event in told:
        if event.kind is not EventKind.PREDICTION:
            continue
        table, types, _, alarm, _ = json.loads(event.text)
        said = np.array(table), types, alarm
        found = next((i for i in range(place, len(recorded)) if _says(recorded[i], *said)), None)
        yield None if found is None else step_of(recorded[found])
        place = place if found is None else found + 1


def _says(found: PredictionResult, table: FloatArray, types: Sequence[str], alarm: bool) -> bool:
    return (
        found.valid
        and found.alarm == alarm
        and list(found.failure_types) == types
        and np.array_equal(found.probabilities.astype(np.float64), table)
    )
