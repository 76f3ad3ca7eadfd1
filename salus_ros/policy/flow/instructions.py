"""Instructions as word indices."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from salus_ros.policy.backend import PolicyError
from salus_ros.policy.flow.config import FlowConfig

LONGEST_SHOWN = 60


def normalised(text: str) -> str:
    """Lower case, single spaces, no final stop."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".!").strip().lower()


def word_indices(text: str, config: FlowConfig) -> NDArray[np.int64]:
    """Indices [longest_instruction], padded with 0.

    Raises PolicyError, listing what is known, for an instruction that the policy wasn't trained
    on: what it would do then is anybody's guess.
    """
    instruction = normalised(text)
    if instruction not in config.instructions:
        shown = text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
        raise PolicyError(
            f"unknown instruction {shown!r}; known: {', '.join(sorted(config.instructions))}"
        )
    words = instruction.split()
    indices = np.zeros(config.longest_instruction, np.int64)
    indices[: len(words)] = [config.words.index(word) for word in words]
    return indices
