"""Plans: alignment by index, merging, traceability, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from salus_ros.policy.backend import PolicyError, Prediction
from salus_ros.policy.chunk_queue import ChunkQueue, QueueConfig
from salus_ros.policy.merging import MERGING_MODES

STEP = 100


def queue(merging="latest", **options):
    options = {"execution_horizon": 5, **options}
    made = ChunkQueue(QueueConfig(("j1",), merging=merging, **options))
    made.activate("source")
    return made


def flat(value, rows=10, dims=1, step=STEP):
    return Prediction(np.full((rows, dims), float(value)), step)


def ramp(stamp, rows=10, step=STEP):
    """A chunk that follows the line action = time."""
    return Prediction((stamp + step * np.arange(rows, dtype=float))[:, None], step)


def add(made, stamp, prediction, now=None, latency=0, blends=True):
    inference = made.begin(stamp, stamp, latency, blends)
    return made.merge(inference, prediction, stamp if now is None else now)


def line(planned):
    return planned.chunk.actions[:, 0].tolist()


def test_the_first_chunk_is_the_plan():
    planned = add(queue(), 1000, flat(7.0))
    chunk = planned.chunk
    assert (chunk.source_id, chunk.number, chunk.start_time, chunk.time_step) == (
        "source",
        1,
        1000,
        STEP,
    )
    assert chunk.joint_names == ("j1",) and chunk.gripper_name == ""
    assert (chunk.first_fresh_step, chunk.execution_horizon) == (0, 5)
    assert chunk.observation_stamp == 1000
    assert line(planned) == [7.0] * 10


def test_rows_that_passed_during_inference_are_dropped_but_for_two():
    planned = add(queue(), 0, ramp(0), now=450)
    assert planned.chunk.start_time == 300
    assert line(planned) == [300, 400, 500, 600, 700, 800, 900]
    assert planned.chunk.first_fresh_step == 0


def test_latest_takes_over_at_the_first_row_that_is_not_due_yet():
    made = queue()
    add(made, 0, flat(1.0))
    planned = add(made, 300, flat(2.0), now=450)
    assert planned.chunk.start_time == 300
    assert line(planned) == [1.0, 1.0] + [2.0] * 8
    assert planned.chunk.first_fresh_step == 2
    assert planned.chunk.number == 2


@pytest.mark.parametrize(("mode", "value"), [("weighted", 1.7), ("conservative", 1.3)])
def test_shares(mode, value):
    made = queue(mode)
    add(made, 0, flat(1.0))
    rows = line(add(made, 300, flat(2.0), now=500))
    assert rows == pytest.approx([1.0] * 2 + [value] * 5 + [2.0] * 3)


def test_an_ensemble_remembers_every_chunk_that_overlaps():
    made = queue("temporal_ensemble", ensemble_coefficient=0.0)
    add(made, 0, flat(1.0))
    add(made, 300, flat(2.0))
    rows = line(add(made, 600, flat(6.0)))
    # Of rows that all three hold, none is of one chunk alone; the last rows only the newest has.
    assert all(1.0 < value < 6.0 for value in rows[2:6])
    assert rows[-3:] == pytest.approx([6.0] * 3)


def test_chunks_fade_in_and_out_of_an_ensemble():
    made = queue("temporal_ensemble", ensemble_coefficient=0.0)
    add(made, 0, flat(0.0, rows=60))
    rows = np.array(line(add(made, 1000, flat(1.0, rows=60))))
    steps = np.diff(rows)
    # From one chunk to the mean of two, and later to the other: both without a jump.
    assert rows[0] == 0.0 and rows[20] == pytest.approx(0.5) and rows[-1] == 1.0
    assert (steps >= -1e-12).all() and steps.max() < 0.13
    assert np.abs(np.diff(rows, 2)).max() < 0.04


def test_rtc_keeps_what_will_be_executed_meanwhile_and_fades_to_the_new():
    made = queue("rtc", execution_horizon=2)
    add(made, 0, flat(1.0))
    # Begun at 300, expected to take 350: rows 300 ... 600 are frozen although it is early.
    planned = add(made, 300, flat(2.0), now=450, latency=350)
    rows = line(planned)
    assert rows[:4] == [1.0] * 4
    assert 1.0 < rows[4] < rows[5] < rows[6] < 2.0 and rows[5] == pytest.approx(1.5)
    assert rows[7:] == pytest.approx([2.0] * 3)
    assert planned.chunk.first_fresh_step == 4
    assert [planned.origin(r).chunk_number for r in range(10)] == [1] * 4 + [2] * 6


def test_in_rtc_the_rows_of_the_last_execution_horizon_are_the_new_chunks_own():
    made = queue("rtc", execution_horizon=8)
    add(made, 0, flat(1.0))
    assert line(add(made, 100, flat(2.0)))[3:] == [2.0] * 8


def test_rtc_passes_on_what_a_sampler_needs_to_continue_the_plan():
    made = queue("rtc", rtc_schedule="zeros")
    assert made.begin(0, 0, 0).guidance is None
    add(made, 0, ramp(0))
    guidance = made.begin(stamp=330, now=350, latency=200).guidance
    # The plan at the times of the new chunk's rows, which lie between its own.
    assert guidance.prefix[:, 0] == pytest.approx([330, 430, 530, 630, 730, 830])
    assert guidance.frozen == 3  # 330, 430 and 530 are due before 550.
    assert guidance.weights.tolist() == [1, 1, 1, 0, 0, 0]


def test_other_blending_modes_tell_where_the_plan_is_and_guide_nothing():
    for mode in ("weighted", "conservative", "temporal_ensemble"):
        made = queue(mode)
        add(made, 0, ramp(0))
        guidance = made.begin(stamp=330, now=350, latency=200).guidance
        assert guidance.prefix[:2, 0] == pytest.approx([330, 430])
        assert not guidance.weights.any() and guidance.frozen == 0
    made = queue("latest")
    add(made, 0, ramp(0))
    assert made.begin(stamp=330, now=350, latency=200).guidance is None


def test_guidance_reaches_back_to_an_observation_older_than_the_published_plan():
    made = queue("rtc")
    add(made, 0, ramp(0, rows=20))
    published = add(made, 900, ramp(900, rows=20), now=1000)
    assert published.chunk.start_time > 500
    guidance = made.begin(stamp=500, now=1010, latency=200).guidance
    assert guidance.prefix[:3, 0] == pytest.approx([500, 600, 700])


def test_a_chunk_between_the_grid_is_resampled_onto_it():
    made = queue()
    add(made, 0, ramp(0))
    planned = add(made, 430, ramp(430), now=430)
    assert planned.chunk.start_time == 300
    # action = time still holds for each row: no step in position or velocity at the seam.
    times = planned.chunk.start_time + STEP * np.arange(len(planned.chunk.actions))
    assert line(planned) == pytest.approx(times.tolist())
    assert times[-1] == 1300  # 430 + 900 lies beyond 1300: nothing is extrapolated.


def test_each_row_tells_where_it_came_from_and_how_stale_it_is():
    made = queue()
    add(made, 0, flat(1.0))
    planned = add(made, 430, flat(2.0), now=550)
    old, new = planned.origin(1), planned.origin(2)
    assert (old.chunk_number, old.step, old.observation_stamp) == (1, 5, 0)
    assert (old.staleness_steps, old.staleness_seconds) == (5, 500e-9)
    # Due at 600, 170 after its observation: between rows 1 and 2 of what the policy made.
    assert (new.chunk_number, new.step, new.observation_stamp) == (2, 1, 430)
    assert (new.staleness_steps, new.staleness_seconds) == (1, 170e-9)
    with pytest.raises(IndexError, match="row 99 is not in this plan"):
        planned.origin(99)


def test_after_a_gap_the_plan_has_no_hole_and_no_padding():
    made = queue()
    add(made, 0, flat(1.0, rows=3))
    planned = add(made, 500, flat(2.0), now=610)
    assert planned.chunk.start_time == 500
    assert line(planned) == [2.0] * 10


def test_an_old_plan_without_meaning_is_followed_but_not_merged():
    made = queue("conservative")
    add(made, 0, flat(1.0))
    planned = add(made, 300, flat(2.0), now=450, blends=False)
    assert line(planned) == [1.0, 1.0] + [2.0] * 8


@pytest.mark.parametrize("merging", MERGING_MODES)
def test_a_chunk_that_does_not_continue_the_plan_brings_its_own_past(merging):
    """The arm was held: rows of a plan that ran on without it would be a leap back to it."""
    made = queue(merging)
    add(made, 0, ramp(0))
    restart = replace(flat(0.0), continues=False)
    planned = add(made, 300, restart, now=600)
    assert line(planned) == [0.0] * 9
    assert planned.chunk.start_time == 400 and planned.chunk.first_fresh_step == 0
    later = add(made, 700, flat(1.0), now=800)
    assert max(line(later)) <= 1.0


def test_another_time_step_begins_a_new_plan():
    made = queue("weighted")
    add(made, 0, flat(1.0))
    planned = add(made, 330, flat(2.0, step=50), now=400)
    assert (planned.chunk.start_time, planned.chunk.time_step) == (330, 50)
    assert line(planned) == [2.0] * 10
    assert planned.chunk.number == 2


@pytest.mark.parametrize(
    ("prediction", "says"),
    [
        (flat(0.0, dims=2), r"shape \(10, 2\): \[rows, 1\]"),
        (Prediction(np.zeros(10), STEP), r"shape \(10,\)"),
        (flat(0.0, rows=1), "at least 2"),
        (flat(0.0, step=0), "time_step is 0 ns"),
        (flat(np.nan), "10 of the policy's 10 actions are not finite"),
        (flat(1e300), "not finite or beyond"),
        (flat(0.0, rows=3), "use longer chunks"),
    ],
)
def test_what_cannot_be_executed_is_refused_and_the_plan_stays(prediction, says):
    made = queue()
    add(made, 0, flat(1.0))
    plan = made.plan
    with pytest.raises(PolicyError, match=says) as error:
        add(made, 100, prediction, now=500)
    assert "\n" not in str(error.value)
    assert made.plan is plan
    assert add(made, 200, flat(2.0)).chunk.number == 2


def test_a_chunk_that_is_frozen_from_end_to_end_is_refused():
    made = queue("rtc")
    add(made, 0, flat(1.0))
    with pytest.raises(PolicyError, match="frozen part"):
        add(made, 300, flat(2.0, rows=3), now=300, latency=5000)


@pytest.mark.parametrize("end", ["clear", "activate"])
def test_an_inference_for_a_plan_that_is_gone_is_void(end):
    made = queue()
    add(made, 0, flat(1.0))
    inference = made.begin(100, 100, 0)
    if end == "clear":
        made.clear()
    else:
        made.activate("other")
    assert made.merge(inference, flat(2.0), 150) is None
    planned = add(made, 200, flat(3.0))
    assert planned.chunk.number == (2 if end == "clear" else 1)
    assert line(planned) == [3.0] * 10


def test_nothing_handed_out_or_in_is_the_queues_own():
    made = queue()
    actions = np.ones((10, 1))
    first = add(made, 0, Prediction(actions, STEP))
    actions[:] = 5.0
    first.chunk.actions[:] = 6.0
    assert line(add(made, 300, flat(2.0), now=450))[:2] == [1.0, 1.0]


def test_the_gripper_is_interpolated_without_overshoot():
    made = ChunkQueue(QueueConfig(("j1",), "gripper"))
    made.activate("source")
    add(made, 0, Prediction(np.zeros((20, 2)), STEP))
    jump = np.zeros((20, 2))
    jump[5:] = 0.08
    gripper = add(made, 50, Prediction(jump, STEP)).chunk.actions[:, 1]
    assert gripper.min() >= 0.0 and gripper.max() <= 0.08


@pytest.mark.parametrize(
    "bad",
    [
        {"merging": "newest"},
        {"rtc_schedule": "cosine"},
        {"execution_horizon": 0},
        {"history_rows": -1},
        {"ensemble_coefficient": float("nan")},
        {"joint_names": ()},
    ],
)
def test_a_bad_configuration_names_value_and_choice(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} is .*allowed is"):
        QueueConfig(**{"joint_names": ("j",), **bad})


def test_an_empty_source_id_is_refused():
    with pytest.raises(ValueError, match="source_id is empty"):
        queue().activate("")


def test_an_ensemble_forgets_chunks_of_an_old_instruction():
    made = queue("temporal_ensemble", ensemble_coefficient=0.0)
    add(made, 0, flat(100.0))
    add(made, 100, flat(1.0), blends=False)
    rows = line(add(made, 200, flat(3.0)))
    assert max(rows[2:]) == pytest.approx(3.0) and min(rows[2:]) >= 1.0
