"""The gate's trace of a recording, put together again."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile

from salus_ros.interfaces import ActionChunk, JointState
from salus_ros.nodes import topics
from salus_ros.replay.errors import BagError
from salus_ros.replay.event_reader import Malformed
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.supervision.gate_trace import CHUNKS, JOINT_STATES, EventKind, GateEvent


@dataclass(frozen=True)
class Trace:
    """Events from an activation on. setup: configuration and limits of the first one, JSON."""

    events: list[GateEvent]
    setup: str


def trace_of(run: RecordedRun) -> Trace | None:
    """The trace of a recording; None, with a note, where it has none from an activation on.

    Raises BagError where a part of it is missing, or the gate was set up anew meanwhile.
    """
    recorded = [event.content for event in run.of(topics.GATE_TRACE)]
    # The first ones may be of an activation before the recording.
    parts = dropwhile(lambda part: part[0] != 0, recorded)
    events: list[GateEvent] = []
    due = 0
    for first, left_out, found in parts:
        if first not in (0, due) or left_out:
            raise BagError(
                f"{run.bag}: the gate's trace lacks {left_out or first - due} events after "
                f"{len(events)}: replay it with --ticks commands"
            )
        due = first + len(found)
        events += found
    setups = [e.text for e in events if e.kind is EventKind.ACTIVATE]
    if not setups:
        if recorded:
            run.notes.append("the gate's trace begins after its activation: it is of no use")
        return None
    if len({json.dumps(_lasting(text)) for text in setups}) > 1:
        raise BagError(f"{run.bag}: the gate was configured anew meanwhile: cut the bag there")
    return Trace(events, setups[0])


def _lasting(setup: str) -> object:
    """What doesn't change from one activation to the next."""
    told = json.loads(setup)
    return [told["limits"], told.get("detectors")]


class Messages:
    """The joint states and chunks of a recording, by what the trace calls them.

    Of several joint states with one stamp the gate heard the newest: those before them came while
    it was not active.
    """

    def __init__(self, run: RecordedRun, events: Sequence[GateEvent] = ()) -> None:
        """events: of the trace, all of them."""
        self._joints: defaultdict[int, deque[JointState]] = defaultdict(deque)
        for event in run.of(topics.JOINT_STATES):
            self._joints[event.content.stamp].append(event.content)
        heard = Counter(event.number for event in events if event.kind in JOINT_STATES)
        for stamp, found in self._joints.items():
            while heard[stamp] and len(found) > heard[stamp]:
                found.popleft()
        self._chunks: dict[tuple[str, int], ActionChunk] = {}
        for event in run.of(topics.ACTION_CHUNK):
            chunk = event.content.chunk
            if not isinstance(chunk, Malformed):
                self._chunks[chunk.source_id, chunk.number] = chunk

    def of(self, event: GateEvent) -> JointState | ActionChunk | None:
        """The message that an event refers to; None: it refers to none, or it isn't there."""
        if event.kind in CHUNKS:
            return self._chunks.get((event.text, event.number))
        if event.kind not in JOINT_STATES or event.number not in self._joints:
            return None
        found = self._joints[event.number]
        return found.popleft() if len(found) > 1 else found[0]
