"""Two configurations on the same recording: what one would have stopped and the other not."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from salus_ros.interfaces import seconds
from salus_ros.replay.differences import MOMENTS_MAX, percentiles
from salus_ros.replay.outputs import Outputs
from salus_ros.supervision.modes import Mode

# Stops of one and the other that begin so close together [s] are the same one.
SAME_STOP = 0.1


def comparison(
    first: Outputs, second: Outputs, joint_names: Sequence[str], fingerprint: str
) -> dict[str, Any]:
    """The second configuration, of this fingerprint, beside the first."""
    return {
        "configuration": fingerprint,
        "fingerprint": second.fingerprint(),
        "interventions": {
            "first": _by_reason(first),
            "second": _by_reason(second),
        },
        "stopped_by_first_only": _stopped_alone(first, second),
        "stopped_by_second_only": _stopped_alone(second, first, since=_start(first)),
        "commands": _command_differences(first, second, joint_names),
    }


def _start(outputs: Outputs) -> int | None:
    return outputs.ticks[0] if outputs.ticks else None


def _by_reason(outputs: Outputs) -> dict[str, int]:
    return dict(sorted(Counter(i.reason for i in outputs.interventions).items()))


def _mode_at(outputs: Outputs, time: int) -> Mode:
    tick = bisect_right(outputs.ticks, time) - 1
    return outputs.modes[tick] if tick >= 0 else Mode.INACTIVE


def _stopped_alone(mine: Outputs, other: Outputs, since: int | None = None) -> list[dict[str, Any]]:
    """Where one holds or stops the arm and the other lets it go on."""
    found: list[dict[str, Any]] = []
    open_since: int | None = None
    start = (_start(mine) or 0) if since is None else since
    for tick, mode in zip(mine.ticks, mine.modes, strict=True):
        theirs = _mode_at(other, tick)
        alone = mode >= Mode.HOLD and Mode.INACTIVE < theirs < Mode.HOLD
        if alone and open_since is None:
            open_since = tick
        elif not alone and open_since is not None:
            found.append(_stop(mine, open_since, tick, start))
            open_since = None
    if open_since is not None:
        found.append(_stop(mine, open_since, mine.ticks[-1], start))
    lasting = [stop for stop in found if stop["seconds"] > SAME_STOP]
    return lasting[:MOMENTS_MAX]


def _stop(outputs: Outputs, begin: int, end: int, start: int) -> dict[str, Any]:
    times = [time for time, _ in outputs.states]
    first = max(bisect_right(times, begin) - 1, 0)
    states = [state for _, state in outputs.states[first : bisect_right(times, end)]]
    reasons = dict.fromkeys(reason for state in states for reason in state.reasons)
    return {
        "time": round(seconds(begin - start), 6),
        "seconds": round(seconds(end - begin), 6),
        "mode": max(state.mode for state in states).name,
        "reasons": list(reasons),
    }


def _command_differences(
    first: Outputs, second: Outputs, joint_names: Sequence[str]
) -> dict[str, Any] | None:
    """Per joint [rad], at the ticks that both have."""
    theirs = dict(zip(second.ticks, second.commands, strict=True))
    apart = [
        np.abs(command.positions - theirs[tick].positions)
        for tick, command in zip(first.ticks, first.commands, strict=True)
        if tick in theirs
    ]
    if not apart:
        return None
    table = np.array(apart)
    columns = {name: percentiles(table[:, j]) for j, name in enumerate(joint_names)}
    return {"compared": len(apart), "joints": columns}
