"""When an episode succeeds or fails, judged on moments made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from salus_ros.sim.episode import Episode, EpisodeStatus, Moment, Phase
from salus_ros.sim.tasks import Task

TICK = 10_000_000
LIMIT = 15_000_000_000
HOME = {"red": np.array([0.5, 0.0, 0.02]), "blue": np.array([0.4, 0.1, 0.02])}


class Story:
    """Shows an episode one moment per tick; each `go` changes what is seen and lets time pass."""

    def __init__(self, action: str = "pick") -> None:
        status = EpisodeStatus(1, 0, "", "")
        self.episode = Episode(status, Task(action, "red"), HOME, LIMIT)  # type: ignore[arg-type]
        self.moment = Moment(0, None, HOME, np.array([0.5, 0.0, 0.3]), 0.0, 0.08, 0.08)

    def go(self, ticks: int, height: float | None = None, **changes: object) -> Story:
        if height is not None:
            blocks = {**self.moment.blocks, "red": np.array([0.5, 0.0, 0.02 + height])}
            changes["blocks"] = blocks
        for _ in range(ticks):
            time = self.moment.time + TICK
            self.moment = replace(self.moment, time=time, **changes)  # type: ignore[arg-type]
            self.episode.judge(self.moment)
        return self

    def grasp(self) -> Story:
        self.go(20, opening=0.05, commanded_opening=0.015)
        return self.go(20, grasped="red", opening=0.037)

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.episode.events]


def test_a_pick_is_done_after_half_a_second_up_and_not_before():
    story = Story().grasp().go(50, height=0.12)
    assert story.episode.running
    story.go(1)
    assert story.episode.status.success
    assert story.episode.status.phase is Phase.ENDED
    assert story.episode.status.end == pytest.approx(0.91)
    assert story.kinds == []


def test_a_dip_starts_the_half_second_anew():
    story = Story().grasp().go(45, height=0.12).go(1, height=0.09).go(45, height=0.12)
    assert story.episode.running


def test_the_wrong_block_high_up_is_no_success():
    story = Story().grasp()
    blocks = {**HOME, "blue": np.array([0.4, 0.1, 0.2])}
    story.go(200, grasped="blue", blocks=blocks)
    assert story.episode.running


def test_a_block_thrown_high_is_not_picked():
    story = Story().go(100, height=0.3)
    assert story.episode.running


def test_a_block_that_leaves_the_grasp_is_a_drop_from_the_moment_it_left():
    story = Story().grasp().go(10, height=0.05)
    left = story.moment.time
    story.go(20, height=0.0, grasped=None, opening=0.02)
    assert story.kinds == ["drop"]
    assert story.episode.status.failure_onset == pytest.approx(left * 1e-9)
    assert story.episode.running, "it can be picked again"


def test_chatter_of_the_contact_is_no_drop():
    story = Story().grasp().go(10, height=0.05)
    for _ in range(10):
        story.go(2, grasped=None).go(3, grasped="red")
    assert story.kinds == []


def test_letting_go_on_the_table_is_no_drop_but_in_the_air_it_is():
    on_table = Story().grasp().go(10, commanded_opening=0.08).go(20, grasped=None, opening=0.08)
    assert on_table.kinds == []
    in_air = Story().grasp().go(10, height=0.05)
    in_air.go(10, grasped=None, commanded_opening=0.08, opening=0.06)
    assert in_air.kinds == ["drop"]


def test_success_after_a_recovered_drop_still_shows_it():
    story = Story().grasp().go(10, height=0.05).go(10, height=0.0, grasped=None, opening=0.02)
    story.go(20, commanded_opening=0.08, opening=0.08).grasp().go(60, height=0.12)
    assert story.episode.status.success
    assert story.episode.status.failure_type == "drop"


def test_a_drop_out_of_reach_ends_the_episode():
    story = Story().grasp().go(10, height=0.05)
    story.go(10, blocks={**HOME, "red": np.array([0.9, 0.0, 0.02])}, grasped=None)
    assert story.episode.status.phase is Phase.ENDED
    assert not story.episode.status.success
    assert story.episode.status.failure_type == "drop"


def test_closing_on_nothing_is_a_miss_once_per_closing():
    story = Story().go(30, opening=0.05, commanded_opening=0.015)
    assert story.kinds == []
    story.go(1, opening=0.029)
    assert story.kinds == ["miss"]
    onset = story.episode.status.failure_onset
    assert onset == pytest.approx(story.moment.time * 1e-9)
    story.go(100, opening=0.015)
    assert story.kinds == ["miss"]
    story.go(30, opening=0.08, commanded_opening=0.08)
    story.go(30, opening=0.02, commanded_opening=0.015)
    assert story.kinds == ["miss", "miss"]
    assert story.episode.status.failure_onset == onset


def test_closing_is_no_failure_of_a_reach():
    story = Story("reach").go(50, opening=0.0, commanded_opening=0.0)
    assert story.kinds == []


def test_a_collision_ends_the_episode_and_later_ones_change_nothing():
    story = Story().go(10)
    story.episode.collide(123_000_000, "table")
    story.episode.collide(124_000_000, "blue")
    status = story.episode.status
    assert (status.failure_type, status.failure_onset, status.end) == ("collision", 0.123, 0.123)
    assert story.episode.events[0].detail == "table"
    assert story.kinds == ["collision"]


def test_timeout_begins_when_the_task_could_no_longer_be_done():
    story = Story().go(1500)
    status = story.episode.status
    assert (status.failure_type, status.end) == ("timeout", 15.0)
    assert status.failure_onset == pytest.approx(15.0 - 3.9, abs=0.011)


def test_with_the_block_in_hand_the_timeout_begins_later():
    story = Story().go(1000).grasp().go(500)
    assert story.episode.status.failure_onset == pytest.approx(15.0 - 1.2, abs=0.011)


@pytest.mark.parametrize(
    ("offset", "speed", "done"),
    [
        ((0.0, 0.0, 0.09), 0.0, True),
        ((0.015, 0.015, 0.05), 0.01, True),
        ((0.0, 0.0, 0.09), 0.1, False),
        ((0.04, 0.0, 0.09), 0.0, False),
        ((0.0, 0.0, 0.20), 0.0, False),
        ((0.0, 0.0, 0.0), 0.0, False),
    ],
)
def test_a_reach_is_done_at_rest_just_above_the_block(offset, speed, done):
    story = Story("reach").go(60, tool=HOME["red"] + offset, tool_speed=speed)
    assert story.episode.status.success is done


def test_the_chosen_block_is_the_first_that_was_grasped_else_the_nearest():
    story = Story().go(20, grasped="blue").go(20, grasped=None).go(20, grasped="red")
    assert story.episode.status.chosen_block == ""
    story.episode.collide(story.moment.time, "table")
    assert story.episode.status.chosen_block == "blue"
    away = Story().go(3, tool=np.array([0.42, 0.1, 0.3]))
    away.episode.collide(away.moment.time, "table")
    assert away.episode.status.chosen_block == "blue"
