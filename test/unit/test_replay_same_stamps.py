"""Which of the recorded messages an event of the gate's trace means."""

from types import SimpleNamespace

import numpy as np

from salus_ros.interfaces import Instant, JointState
from salus_ros.nodes import topics
from salus_ros.replay.trace import Messages
from salus_ros.supervision.gate_trace import EventKind, GateEvent

STAMP = 5_000_000


def joints(position, stamp=STAMP):
    return JointState(stamp, np.full(7, position), np.zeros(7), np.empty(0))


def recording(*states):
    events = [SimpleNamespace(content=state) for state in states]
    return SimpleNamespace(of=lambda topic: events if topic == topics.JOINT_STATES else [])


def event(kind, stamp=STAMP):
    return GateEvent(kind, Instant(0, 0), stamp)


def meant(run, *events):
    messages = Messages(run, events)
    return [messages.of(one).positions[0] for one in events]


def test_an_activation_means_the_newest_of_several_with_one_stamp():
    """The rig puts the arm home between two: the gate began from the second."""
    run = recording(joints(1.0), joints(2.0))
    assert meant(run, event(EventKind.ACTIVATE)) == [2.0]


def test_one_that_came_after_the_activation_is_told_after_it():
    run = recording(joints(1.0), joints(2.0), joints(3.0))
    assert meant(run, event(EventKind.ACTIVATE), event(EventKind.JOINTS)) == [2.0, 3.0]


def test_one_that_the_recorder_missed_is_taken_to_be_as_the_other():
    run = recording(joints(1.0))
    assert meant(run, event(EventKind.JOINTS), event(EventKind.JOINTS)) == [1.0, 1.0]


def test_what_is_not_there_is_none():
    assert Messages(recording()).of(event(EventKind.JOINTS)) is None
