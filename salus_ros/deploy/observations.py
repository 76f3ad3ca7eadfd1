"""What the rig shows along a few episodes: inputs that a configuration is measured on."""

from __future__ import annotations

import numpy as np

from salus_ros.interfaces import Observation
from salus_ros.policy.registry import make_backend
from salus_ros.sim.lockstep import Lockstep, LockstepConfig
from salus_ros.sim.lockstep_series import panda_limits
from salus_ros.sim.rig import Rig
from salus_ros.sim.series import FIRST_UNSEEN_SEED
from salus_ros.sim.tasks import TASKS
from salus_ros.sim.world import CAMERAS

GUIDE = "scripted_expert"
SPACING = 0.5
"""Time between two inferences [s]: neighbours show nearly the same."""


def rig_observations(count: int, seed: int = FIRST_UNSEEN_SEED + 500_000) -> list[Observation]:
    """Observations of episodes that the scripted expert drives, drawn evenly over all tasks.

    The same for the same count and seed.
    """
    seen: list[Observation] = []

    def take(_time: int, thing: object) -> None:
        if isinstance(thing, Observation):
            seen.append(thing)

    rig, backend = Rig(), make_backend(GUIDE)
    config = LockstepConfig(latency=SPACING, cameras=CAMERAS, execution_horizon=1)
    lockstep = Lockstep(rig, backend, panda_limits(), config=config, observer=take)
    episodes = min(count, len(TASKS))
    try:
        for number in range(episodes):
            lockstep.run_episode(TASKS[number].instruction, seed + number)
    finally:
        rig.close()
    chosen = np.linspace(0, len(seen) - 1, count).round().astype(int)
    return [seen[i] for i in chosen]
