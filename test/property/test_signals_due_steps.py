"""Whatever the order and lateness of plans and ticks: each due time once, rising."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_ros.interfaces import ActionChunk
from salus_ros.signals.step_clock import StepClock

STEP = 10


def chunk(number, start, rows):
    return ActionChunk(
        "a", number, ("j",), "", start, STEP, np.full((rows, 1), float(number)), 0, 1, start
    )


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 45), st.integers(0, 6), st.integers(1, 12)), max_size=20),
    st.lists(st.integers(0, 400), max_size=30),
    st.integers(0, STEP - 1),
)
def test_each_due_time_once_in_order_from_the_newest_plan_that_had_arrived(plans, ticks, phase):
    """Against the rule itself, looked up for each grid time."""
    arrivals, now = [], 0
    for number, (pause, back, rows) in enumerate(plans, start=1):
        now += pause
        start = (now - phase) // STEP * STEP + phase - back * STEP
        arrivals.append((now, chunk(number, start, rows)))
    end = now + 200
    events = [(t, 1, c) for t, c in arrivals] + [(t, 0, None) for t in [*ticks, end]]
    events = sorted((e for e in events if e[0] <= end), key=lambda e: e[:2])
    clock, steps = StepClock(), []
    for time, _, plan in events:
        if plan is None:
            steps += clock.advance(time)
        else:
            assert clock.on_chunk(plan, time) == ""
    steps += clock.advance(end)

    expected = []
    for due in range(phase - 10 * STEP, end + 1, STEP):
        # A tick at the very moment of an arrival may have been first.
        known = [c for t, c in arrivals if t <= due]
        if known and 0 <= (row := (due - known[-1].start_time) // STEP) < len(known[-1].actions):
            expected.append(due)
            del row
    times = [s.execution_time for s in steps]
    assert times == sorted(set(times))
    assert set(expected) <= set(times)
    for step in steps:
        had_arrived = [c.number for t, c in arrivals if t <= step.execution_time]
        at_that_moment = sum(t == step.execution_time for t, _ in arrivals)
        assert had_arrived[-1] - at_that_moment <= step.chunk_number <= had_arrived[-1]
