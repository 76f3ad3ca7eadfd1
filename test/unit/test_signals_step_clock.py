"""Every executed row once, in order, from the plan that was in force when it was due."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.interfaces import ActionChunk
from salus_ros.signals.step_clock import BACKLOG, StepClock

STEP = 100


def chunk(number, start, rows=10, source="a", time_step=STEP):
    return ActionChunk(
        source_id=source,
        number=number,
        joint_names=("j",),
        gripper_name="",
        start_time=start,
        time_step=time_step,
        actions=1000.0 * number + np.arange(rows, dtype=float)[:, None],
        first_fresh_step=0,
        execution_horizon=rows,
        observation_stamp=start - 7,
    )


def rows(steps):
    return [(s.chunk_number, s.step) for s in steps]


def test_rows_come_when_they_are_due():
    clock = StepClock()
    assert clock.advance(0) == []
    clock.on_chunk(chunk(1, 0), arrival=0)
    (first,) = clock.advance(0)
    assert (first.source_id, first.chunk_number, first.step) == ("a", 1, 0)
    assert (first.execution_time, first.observation_stamp) == (0, -7)
    assert first.action == pytest.approx([1000.0])
    assert clock.advance(99) == []
    assert rows(clock.advance(100)) == [(1, 1)]


def test_a_late_tick_gets_all_rows_in_order_and_none_twice():
    clock = StepClock()
    clock.on_chunk(chunk(1, 0), arrival=0)
    assert rows(clock.advance(450)) == [(1, k) for k in range(5)]
    assert rows(clock.advance(450)) == []
    assert rows(clock.advance(10_000)) == [(1, k) for k in range(5, 10)]
    assert clock.advance(20_000) == []


def test_a_new_plan_takes_over_in_the_middle():
    clock = StepClock()
    clock.on_chunk(chunk(1, 0), arrival=0)
    clock.advance(150)
    # It begins two rows before the present, as the policy publishes it, and arrives between rows.
    clock.on_chunk(chunk(2, 300), arrival=450)
    # Rows due before it arrived were executed from the old plan, though nobody asked meanwhile.
    assert rows(clock.advance(700)) == [(1, 2), (1, 3), (1, 4), (2, 2), (2, 3), (2, 4)]


def test_rows_due_before_the_first_plan_arrived_were_not_executed():
    clock = StepClock()
    clock.on_chunk(chunk(1, 0), arrival=250)
    assert rows(clock.advance(300)) == [(1, 3)]


def test_a_gap_in_the_plans_is_a_gap_in_the_steps():
    clock = StepClock()
    clock.on_chunk(chunk(1, 0, rows=3), arrival=0)
    clock.on_chunk(chunk(2, 400), arrival=650)
    assert rows(clock.advance(800)) == [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4)]


def test_a_row_executed_already_is_not_executed_again_from_a_plan_that_looks_back():
    clock = StepClock()
    clock.on_chunk(chunk(1, 0), arrival=0)
    clock.advance(300)
    clock.on_chunk(chunk(2, 200), arrival=300)
    assert rows(clock.advance(500)) == [(2, 2), (2, 3)]


def test_old_repeated_and_broken_plans_are_left_out_with_the_reason():
    clock = StepClock()
    assert clock.on_chunk(chunk(2, 0), arrival=0) == ""
    assert "came after chunk 2" in clock.on_chunk(chunk(2, 0), arrival=1)
    assert "came after chunk 2" in clock.on_chunk(chunk(1, 0), arrival=1)
    assert "time step of 0 ns" in clock.on_chunk(chunk(3, 0, time_step=0), arrival=1)
    assert rows(clock.advance(100)) == [(2, 0), (2, 1)]


def test_a_new_source_begins_at_1_even_after_the_clock_was_set_back():
    clock = StepClock()
    clock.on_chunk(chunk(7, 10_000), arrival=10_000)
    clock.advance(10_200)
    assert clock.on_chunk(chunk(1, 0, source="b"), arrival=0) == ""
    assert rows(clock.advance(100)) == [(1, 0), (1, 1)]
    assert "replaced" in clock.on_chunk(chunk(8, 10_000, source="a"), arrival=150)


def test_a_caller_who_never_asks_costs_bounded_memory_and_is_told():
    clock = StepClock()
    for n in range(200):
        clock.on_chunk(chunk(n + 1, n * 1000), arrival=n * 1000)
    assert len(clock.advance(200_000)) == BACKLOG
    assert clock.lost == 2000 - BACKLOG


def test_reset_forgets_the_plan():
    clock = StepClock()
    clock.on_chunk(chunk(5, 0), arrival=0)
    clock.reset()
    assert clock.advance(1000) == []
    assert clock.on_chunk(chunk(5, 0), arrival=0) == ""
