"""How long an inference of a replay takes: which chunk would have been executing when."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from salus_ros.interfaces import nanoseconds
from salus_ros.replay.errors import BagError

FIXED, RECORDED, MEASURED = "fixed", "recorded", "measured"
LONGEST = 60.0  # s

# From the seconds that an inference took here to the nanoseconds that it takes in the replay.
Delay = Callable[[float], int]


def check_delay(text: str) -> float | None:
    """The seconds of "fixed:SECONDS"; None for "recorded" and "measured". Raises BagError."""
    if text in (RECORDED, MEASURED):
        return None
    kind, _, number = text.partition(":")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if kind != FIXED or not 0.0 <= value <= LONGEST:
        raise BagError(
            f"delay '{text}': give fixed:SECONDS (0 to {LONGEST:g}), {RECORDED} or {MEASURED}"
        )
    return value


def delay_model(text: str, recorded: Sequence[float], seed: int) -> Delay:
    """The model of that name. recorded [s]: drawn from, with replacement, where it is asked for.

    Raises BagError, one line, for another name or where nothing was recorded.
    """
    fixed = check_delay(text)
    if fixed is not None:
        return lambda _: nanoseconds(fixed)
    if text == MEASURED:
        return nanoseconds
    usable = np.array([value for value in recorded if 0.0 <= value <= LONGEST])
    if not usable.size:
        raise BagError("no chunk whose delay could be drawn from: give --delay fixed:SECONDS")
    rng = np.random.default_rng(seed)
    return lambda _: nanoseconds(float(rng.choice(usable)))
