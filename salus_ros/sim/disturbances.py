"""What can be made to go wrong: named, with an onset and a magnitude, drawn from a seed.

Each acts from its onset to the end of the episode, except block_pushed, which is one push, and
block_moved, wrong_instruction and distractor, which are there from the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Kind:
    """What a disturbance does, the range [unit] of its magnitude and of its onset [s]."""

    meaning: str
    unit: str
    magnitude: tuple[float, float]
    onset: tuple[float, float]


_LATER = (0.3, 2.5)
_START = (0.0, 0.0)

KINDS: dict[str, Kind] = {
    "camera_covered": Kind("part of each image is black", "share of width", (0.4, 1.0), _LATER),
    "camera_blurred": Kind("images are blurred", "radius / width", (0.02, 0.08), _LATER),
    "camera_shifted": Kind("cameras are turned", "rad", (0.08, 0.35), _LATER),
    "block_pushed": Kind("the task's block is pushed along", "m", (0.05, 0.15), (0.6, 3.0)),
    "block_slippery": Kind("the task's block is slippery", "friction", (0.0, 0.01), (0.5, 3.6)),
    "block_moved": Kind("blocks start outside of the usual area", "m", (0.10, 0.25), _START),
    "actuator_weakened": Kind("the arm's motors lose torque", "share lost", (0.2, 0.75), _LATER),
    "joint_friction": Kind("the arm's joints rub", "Nm", (15.0, 60.0), _LATER),
    "latency": Kind("observations are delivered late", "s", (0.15, 0.60), _LATER),
    "wrong_instruction": Kind("the policy is told another colour", "", (1.0, 1.0), _START),
    "distractor": Kind("another object lies among the blocks", "objects", (1.0, 1.0), _START),
}


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One disturbance: name (see KINDS), onset [ns] since the start, magnitude in its unit.

    direction [rad]: of a push, a turn or a move, where the kind has one.
    """

    name: str
    onset: int
    magnitude: float
    direction: float = 0.0

    def __post_init__(self) -> None:
        kind_of(self.name)
        if not np.isfinite(self.magnitude) or self.magnitude < 0 or self.onset < 0:
            raise ValueError(
                f"{self.name}: magnitude {self.magnitude} and onset {self.onset} ns must be >= 0"
            )


def kind_of(name: str) -> Kind:
    """The kind of this name. Raises ValueError, in one line that lists the known names."""
    if name not in KINDS:
        raise ValueError(f"unknown disturbance {name!r}; known: {', '.join(KINDS)}")
    return KINDS[name]


def from_the_start(name: str) -> bool:
    """Whether this disturbance is part of the start state, and can't begin later."""
    return name in ("block_moved", "wrong_instruction", "distractor")


def draw_disturbance(name: str, rng: np.random.Generator) -> Disturbance:
    """Draw onset, magnitude and direction within the kind's ranges. Raises ValueError."""
    kind = kind_of(name)
    onset, magnitude = rng.uniform(*kind.onset), rng.uniform(*kind.magnitude)
    return Disturbance(name, round(onset * 1e9), magnitude, rng.uniform(-np.pi, np.pi))
