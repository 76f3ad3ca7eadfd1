"""Which episodes a data set of rollouts has: seeds, instructions and disturbances, in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from salus_ros.sim.disturbances import KINDS, Disturbance, draw_disturbance, kind_of
from salus_ros.sim.tasks import TASKS

SEEDS_PER_SET = 1_000_000


@dataclass(frozen=True, slots=True)
class PlannedEpisode:
    """One episode of a data set, by its number in it."""

    number: int
    seed: int
    instruction: str
    disturbance: Disturbance | None

    @property
    def name(self) -> str:
        """Of its bag."""
        return f"episode_{self.number:05d}"

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "number": self.number,
            "seed": self.seed,
            "instruction": self.instruction,
            "disturbance": None if self.disturbance is None else asdict(self.disturbance),
        }


def plan_episodes(
    count: int, seed: int, disturbances: Sequence[str], nominal_share: float
) -> list[PlannedEpisode]:
    """The first `count` episodes of a data set; a larger count only adds to them.

    nominal_share of them, spread evenly, are undisturbed; the others take the disturbances in turn,
    each through all instructions. Onset and magnitude are drawn from the episode's seed. Raises
    ValueError for an unknown disturbance.
    """
    for name in disturbances:
        kind_of(name)
    if not disturbances:
        nominal_share = 1.0
    planned, nominal = [], 0
    for number in range(count):
        own = seed * SEEDS_PER_SET + number
        if int((number + 1) * nominal_share) > int(number * nominal_share):
            planned.append(PlannedEpisode(number, own, _instruction(nominal), None))
            nominal += 1
            continue
        turn, kind = divmod(number - nominal, len(disturbances))
        # The same as the rig draws for a name (see Rig.reset).
        rng = np.random.default_rng([own, 1])
        drawn = draw_disturbance(disturbances[kind], rng)
        planned.append(PlannedEpisode(number, own, _instruction(turn), drawn))
    return planned


def _instruction(turn: int) -> str:
    return TASKS[turn % len(TASKS)].instruction


def named_disturbances(names: Sequence[str]) -> tuple[str, ...]:
    """The disturbances of these names; "all" is every one. Raises ValueError."""
    if "all" in names:
        return tuple(KINDS)
    for name in names:
        kind_of(name)
    return tuple(dict.fromkeys(names))
