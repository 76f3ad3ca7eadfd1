"""Seams, gaps and ages of plans that were made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.bench.chunk_stream import Arrival, ChunkStream
from salus_ros.interfaces import ActionChunk

STEP = 100_000_000


def chunk(number, start, values, fresh=0, observed=None, horizon=4):
    actions = np.asarray(values, float)[:, None]
    stamp = start if observed is None else observed
    return ActionChunk("s", number, ("j",), "", start, STEP, actions, fresh, horizon, stamp)


def stream(*arrivals, **options):
    return ChunkStream([Arrival(t, c) for t, c in arrivals], 1, **options)


def test_rows_are_executed_as_they_stand_in_the_plan_in_force_when_due():
    found = stream(
        (0, chunk(1, 0, [0, 1, 2, 3, 4, 5])),
        (3 * STEP - 1, chunk(2, STEP, [1, 2, 13, 14, 15], fresh=2)),
    )
    indices, rows = found.executed()
    assert indices.tolist() == [0, 1, 2, 3, 4]
    assert rows.actions[:, 0].tolist() == [0, 1, 2, 13, 14]
    assert rows.numbers.tolist() == [1, 1, 1, 2, 2]


def test_a_leap_is_a_jump_at_the_seam_and_nowhere_else():
    found = stream(
        (0, chunk(1, 0, np.arange(10))),
        (3 * STEP, chunk(2, 3 * STEP, np.arange(3, 13) + 5.0)),
    )
    seams, inside = found.seam_jumps(), found.inner_jumps()
    assert seams["position"].max() == pytest.approx(6.0)
    assert seams["velocity"].max() == pytest.approx(5.0 / 0.1)
    assert inside["position"] == pytest.approx(np.ones(8))
    assert inside["acceleration"].max() == pytest.approx(0.0, abs=1e-9)


def test_one_motion_cut_in_two_has_seams_like_its_inside():
    motion = np.sin(np.arange(40) / 5)
    found = stream((0, chunk(1, 0, motion[:20])), (8 * STEP, chunk(2, 8 * STEP, motion[8:28])))
    for name, jumps in found.seam_jumps().items():
        assert jumps.max() <= found.inner_jumps()[name].max() * 1.3


def test_what_nobody_follows_is_no_seam():
    arrivals = (0, chunk(1, 0, np.zeros(9))), (3 * STEP, chunk(2, 3 * STEP, np.ones(9)))
    assert len(stream(*arrivals).seam_jumps()["position"]) == 1
    held = stream(*arrivals, followed=[(6 * STEP, 9 * STEP)])
    assert len(held.seam_jumps()["position"]) == 0


def test_a_chunk_after_the_plans_end_counts_as_dry():
    found = stream((0, chunk(1, 0, [0, 0, 0])), (5 * STEP, chunk(2, 5 * STEP, [0, 0, 0])))
    assert found.dry_seconds() == pytest.approx([0.3])


def test_the_age_is_that_of_the_observation_behind_the_row():
    found = stream(
        (2 * STEP, chunk(1, 0, np.zeros(5))),
        (3 * STEP, chunk(2, 2 * STEP, np.zeros(5), fresh=2, observed=2 * STEP)),
    )
    ages = found.ages()
    # From the second chunk's arrival on a frozen row, still of the first one, is executed.
    assert ages[0] == pytest.approx(0.2) and ages[10] == pytest.approx(0.3)
    assert ages[19] == pytest.approx(0.39) and ages[20] == pytest.approx(0.2)


def test_a_chunk_beside_the_grid_is_refused():
    with pytest.raises(ValueError, match="beside the grid"):
        stream((0, chunk(1, 0, [0, 0])), (1, chunk(2, STEP + 1, [0, 0])))


def test_hold_time_is_told_by_cause_from_the_first_motion_on():
    from salus_ros.bench.chunking import Watched, hold_shares, mode_shares

    modes = ["HOLD", "NOMINAL", "HOLD", "HOLD", "NOMINAL", "STOP"]
    reasons = ["plan_missing", "", "plan_stale", "resuming", "", "tracking_error"]
    times = [0, 5, 10, 11, 14, 18]
    watched = Watched(modes=list(zip(times, modes, strict=True)), reasons=reasons, end=20)
    assert hold_shares([watched]) == {
        "plan_stale": 0.16667,
        "resuming": 0.5,
        "tracking_error": 0.33333,
    }
    assert mode_shares([watched])["HOLD"] == round(4 / 15, 5)
    assert hold_shares([Watched()]) == {}
