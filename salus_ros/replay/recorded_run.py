"""What a bag holds of the graph's topics, as plain types in order of receipt."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from salus_ros.interfaces import seconds
from salus_ros.nodes import topics
from salus_ros.replay.bag_reader import read_raw
from salus_ros.replay.errors import BagError
from salus_ros.replay.event_reader import Event, EventReader
from salus_ros.replay.topic_map import TopicMap

# Stamps that move by more against their receipts [s] from one joint state to the next, and stay
# there, have jumped; so many states must be on either side.
CLOCK_JUMP, JUMP_STATES = 1.0, 20
# A run whose stamps lie farther from its receipts [s] has another clock (simulated time, say).
CLOCK_OFFSET = 0.25
_READ_BYTES = 1 << 20


@dataclass
class RecordedRun:
    """One bag. offset: what the receipts' clock is ahead of the stamps' [ns]; 0: it is the same.

    unreadable: messages left out, by topic, with the first reason. sha256: of its files.
    """

    bag: Path
    events: list[Event]
    joint_names: tuple[str, ...]
    gripper_name: str
    sha256: str
    offset: int = 0
    notes: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def of(self, topic: str) -> list[Event]:
        """The events of one topic; not to be changed."""
        return self._by_topic.get(topic, [])

    @cached_property
    def _by_topic(self) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.topic, []).append(event)
        return found

    @property
    def duration(self) -> float:
        """From the first message to the last [s]."""
        return seconds(self.events[-1].time - self.events[0].time) if self.events else 0.0


def fingerprint_of(bag: Path) -> str:
    """SHA-256 of a bag's files, their names included. Raises BagError."""
    digest = hashlib.sha256()
    try:
        files = sorted(p for p in bag.rglob("*") if p.is_file()) if bag.is_dir() else [bag]
        for path in files:
            digest.update(path.name.encode() + b"\0")
            with path.open("rb") as file:
                while part := file.read(_READ_BYTES):
                    digest.update(part)
    except OSError as error:
        raise BagError(f"{bag} can't be read: {error.strerror}") from None
    return digest.hexdigest()


def read_run(
    bag: Path,
    joint_names: tuple[str, ...],
    gripper_name: str,
    gripper_range: tuple[float, float] = (0.0, 0.0),
    topic_map: TopicMap | None = None,
    images: bool = False,
) -> RecordedRun:
    """Read a bag of a robot with these joints. images: those of cameras, too.

    Raises BagError, one line, where it can't be read, is empty, has no joint states, has those of
    several robots, or its stamps go back.
    """
    topic_map = topic_map or TopicMap()
    reader = EventReader(topic_map, joint_names, gripper_name, gripper_range, images)
    events = reader.events(read_raw(bag, reader.wanted))
    _check_order(bag, events)
    run = RecordedRun(
        bag, events, joint_names, gripper_name, fingerprint_of(bag), unreadable=reader.problems
    )
    _stamp_joints(run)
    _check_joints(run, topic_map)
    run.offset = _clock_offset(run)
    return run


def _check_order(bag: Path, events: list[Event]) -> None:
    for before, after in pairwise(events):
        if after.time < before.time:
            back, at = seconds(before.time - after.time), seconds(after.time - events[0].time)
            raise BagError(
                f"{bag}: {after.topic} was received {back:.3g} s before what stands ahead of it, "
                f"at {at:.3f} s: its order can't be told"
            )


def _stamp_joints(run: RecordedRun) -> None:
    """Joint states without a stamp are of when they were received."""
    moved = 0
    for place, event in enumerate(run.events):
        if event.topic == topics.JOINT_STATES and event.content.stamp == 0:
            stamped = replace(event.content, stamp=event.time)
            run.events[place] = event._replace(content=stamped)
            moved += 1
    if moved:
        run.notes.append(f"{moved} joint states have no stamp: that of their receipt is taken")


def _check_joints(run: RecordedRun, topic_map: TopicMap) -> None:
    states = run.of(topics.JOINT_STATES)
    name = topic_map.bag_topic(topics.JOINT_STATES)
    if not states:
        why = run.unreadable.get(topics.JOINT_STATES)
        raise BagError(f"{run.bag}: nothing usable on {name}" + (f": {why}" if why else ""))
    traced = any(event.topic == topics.GATE_TRACE for event in run.events)
    last = states[0].content.stamp
    for event in states:
        stamp = event.content.stamp
        if stamp < last and not traced:
            at = seconds(event.time - run.events[0].time)
            raise BagError(
                f"{run.bag}: the stamps of {name} go back by {seconds(last - stamp):.3g} s at "
                f"{at:.3f} s: cut the bag there"
            )
        last = stamp
    if not traced:
        _check_jumps(run, states, name)


def _check_jumps(run: RecordedRun, states: list[Event], name: str) -> None:
    """Receipts that are late for a while are no jump: most after them are in time again."""
    ahead = np.array([seconds(event.time - event.content.stamp) for event in states])
    for place in (np.flatnonzero(np.abs(np.diff(ahead)) > CLOCK_JUMP) + 1).tolist():
        before, after = ahead[:place], ahead[place:]
        jump = float(np.median(before) - np.median(after))
        if abs(jump) > CLOCK_JUMP and min(len(before), len(after)) >= JUMP_STATES:
            at = seconds(states[place].time - run.events[0].time)
            raise BagError(
                f"{run.bag}: the stamps of {name} jump by {jump:+.3g} s against their receipts at "
                f"{at:.3f} s: cut the bag there"
            )


def _clock_offset(run: RecordedRun) -> int:
    ahead = [e.time - e.content.stamp for e in run.of(topics.JOINT_STATES)]
    offset = int(np.median(ahead))
    spread = max(abs(a - offset) for a in ahead)
    if seconds(spread) > CLOCK_OFFSET:
        run.notes.append(
            f"the stamps of joint states and their receipts drift by {spread / 1e9:.3g} s"
        )
    if abs(seconds(offset)) <= CLOCK_OFFSET:
        return 0
    run.notes.append(f"the stamps' clock is {seconds(offset):.3f} s behind the receipts': moved")
    return offset
