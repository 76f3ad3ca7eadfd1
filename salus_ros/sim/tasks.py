"""Tasks in words, and the start states that they are given.

An instruction names what to do and with which block. Start states are drawn from a seed, so that
the same seed and instruction give the same state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from salus_ros.interfaces import BlockPose, FloatArray
from salus_ros.sim.world import BLOCK_SIZE, COLORS

Action = Literal["pick", "reach"]

_WORDING: dict[Action, str] = {
    "pick": "pick up the {} block",
    "reach": "reach above the {} block",
}

AREA_LOWER = np.array([0.38, -0.15])
AREA_UPPER = np.array([0.58, 0.15])
"""The 20 x 30 cm in front of the arm where blocks start: corners (x, y) [m]."""
MIN_SPACING = 0.095
"""Least distance between two blocks' centres [m]: an open gripper fits around one of them."""
_LEAST_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class Task:
    """What to do with the block of which colour."""

    action: Action
    color: str

    @property
    def instruction(self) -> str:
        """The task in words."""
        return _WORDING[self.action].format(self.color)


TASKS = tuple(Task(action, color) for action in _WORDING for color in COLORS)


def parse_instruction(text: str) -> Task:
    """The task that an instruction asks for; case and outer white space don't matter.

    Raises ValueError, in one line that lists what is known.
    """
    wanted = text.strip().lower()
    for task in TASKS:
        if task.instruction == wanted:
            return task
    known = ", ".join(f'"{wording.format("COLOUR")}"' for wording in _WORDING.values())
    raise ValueError(
        f"unknown instruction {text!r}; known: {known} with COLOUR one of {', '.join(COLORS)}"
    )


def draw_blocks(
    rng: np.random.Generator, task: Task, shift: FloatArray | None = None
) -> tuple[BlockPose, ...]:
    """Draw 3 or 4 blocks, the task's among them, in any order, place and yaw.

    shift (x, y) [m]: moves the area that places are drawn from (block_moved).
    """
    others = [c for c in COLORS if c != task.color]
    count = int(rng.integers(_LEAST_BLOCKS, len(COLORS) + 1))
    colors = [task.color, *rng.permutation(others)[: count - 1]]
    places = draw_places(rng, count)
    if shift is not None:
        places = places + shift
    return tuple(
        BlockPose(str(color), np.array([*place, BLOCK_SIZE / 2]), float(rng.uniform(-np.pi, np.pi)))
        for color, place in zip(rng.permutation(colors), places, strict=True)
    )


def draw_places(rng: np.random.Generator, count: int) -> FloatArray:
    """Places [count, 2] m in the area, no two nearer than MIN_SPACING."""
    while True:
        # Anew as a whole, rather than point by point, so that no place is favoured.
        places = rng.uniform(AREA_LOWER, AREA_UPPER, size=(count, 2))
        gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
        if gaps[np.triu_indices(count, 1)].min(initial=np.inf) >= MIN_SPACING:
            return places


def draw_free_place(rng: np.random.Generator, blocks: tuple[BlockPose, ...]) -> FloatArray:
    """A place (x, y) [m] in or near the area that keeps MIN_SPACING to all blocks."""
    margin = 0.06
    while True:
        place: FloatArray = rng.uniform(AREA_LOWER - margin, AREA_UPPER + margin)
        if all(np.linalg.norm(b.position[:2] - place) >= MIN_SPACING for b in blocks):
            return place
