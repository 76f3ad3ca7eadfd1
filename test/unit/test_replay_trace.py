"""A bag's gate trace, put together again."""

from types import SimpleNamespace

from salus_ros.interfaces import Instant
from salus_ros.replay.trace import trace_of
from salus_ros.supervision.gate_trace import EventKind, GateEvent


def run_of(*firsts):
    """A recording whose parts of the trace begin with these numbers, one tick each."""
    tick = GateEvent(EventKind.TICK, Instant(0, 0))
    events = [SimpleNamespace(content=(first, 0, [tick])) for first in firsts]
    return SimpleNamespace(bag="bag", notes=[], of=lambda topic: events)


def test_a_trace_without_its_activation_is_not_used_and_the_report_says_so():
    run = run_of(134, 135)
    assert trace_of(run) is None
    assert run.notes == ["the gate's trace begins after its activation: it is of no use"]


def test_a_recording_without_a_trace_needs_no_note():
    run = run_of()
    assert trace_of(run) is None
    assert run.notes == []
