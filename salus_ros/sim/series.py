"""Series of episodes, the same for the same seed wherever they run."""

from __future__ import annotations

from salus_ros.sim.tasks import Task
from salus_ros.sim.world import COLORS

SEEDS_PER_SERIES = 10_000
FIRST_UNSEEN_SEED = 1_000_000
"""Seeds from here on are for evaluation: nothing is trained or chosen on them."""


def episode_series(count: int, seed: int, instruction: str = "") -> list[tuple[str, int]]:
    """(instruction, seed) of each episode; without an instruction, picks of each colour in turn."""
    picks = [Task("pick", color).instruction for color in COLORS]
    return [
        (instruction or picks[i % len(picks)], seed * SEEDS_PER_SERIES + i) for i in range(count)
    ]
