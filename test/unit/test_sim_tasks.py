"""Instructions and start states."""

from __future__ import annotations

import numpy as np
import pytest

from salus_ros.sim.tasks import (
    AREA_LOWER,
    AREA_UPPER,
    MIN_SPACING,
    TASKS,
    draw_blocks,
    draw_free_place,
    parse_instruction,
)
from salus_ros.sim.world import BLOCK_SIZE, COLORS


def test_every_task_is_found_by_its_own_words():
    assert len(TASKS) == 2 * len(COLORS)
    for task in TASKS:
        assert parse_instruction(f" {task.instruction.upper()} ") == task


@pytest.mark.parametrize("text", ["", "pick up the pink block", "pick up the red block now"])
def test_unknown_instruction_lists_what_is_known(text):
    with pytest.raises(ValueError, match="unknown instruction") as caught:
        parse_instruction(text)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ("pick up the", "reach above the", *COLORS))


def states(count: int = 400):
    return [draw_blocks(np.random.default_rng(seed), TASKS[seed % 8]) for seed in range(count)]


def test_the_tasks_block_is_always_there_among_at_least_three_different_ones():
    for seed, blocks in enumerate(states()):
        colors = [block.color for block in blocks]
        assert TASKS[seed % 8].color in colors
        assert 3 <= len(colors) == len(set(colors))


def test_blocks_lie_in_the_area_far_enough_apart_for_a_gripper():
    for blocks in states():
        places = np.array([b.position for b in blocks])
        assert (places[:, :2] >= AREA_LOWER).all() and (places[:, :2] <= AREA_UPPER).all()
        assert places[:, 2] == pytest.approx(BLOCK_SIZE / 2)
        gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
        assert gaps[np.triu_indices(len(places), 1)].min() >= MIN_SPACING


def test_every_color_and_block_count_and_the_whole_area_come_up():
    seen = states()
    assert {len(blocks) for blocks in seen} == {3, 4}
    first = {blocks[0].color for blocks in seen}
    assert first == set(COLORS)
    places = np.array([b.position[:2] for blocks in seen for b in blocks])
    assert places.min(axis=0) == pytest.approx(AREA_LOWER, abs=0.01)
    assert places.max(axis=0) == pytest.approx(AREA_UPPER, abs=0.01)
    yaws = np.array([b.yaw for blocks in seen for b in blocks])
    assert np.histogram(yaws, bins=8, range=(-np.pi, np.pi))[0].min() > len(yaws) / 16


def test_same_seed_same_state_other_seed_another():
    first, same, other = (draw_blocks(np.random.default_rng(s), TASKS[0]) for s in (5, 5, 6))
    assert [b.color for b in first] == [b.color for b in same]
    assert all((a.position == b.position).all() for a, b in zip(first, same, strict=True))
    assert not np.allclose(first[0].position, other[0].position)


def test_a_free_place_keeps_its_distance():
    for seed, blocks in enumerate(states(50)):
        place = draw_free_place(np.random.default_rng(seed), blocks)
        assert all(np.linalg.norm(b.position[:2] - place) >= MIN_SPACING for b in blocks)
