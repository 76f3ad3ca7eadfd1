"""A Franka's mode and reflexes: whether it follows commands, and what to do where it doesn't.

Modes and error names are those of franka_msgs (FrankaRobotState, Errors), which are libfranka's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

MOVE = 2

# Name of each mode, and what a person does about it.
MODES: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0: ("other", "look at Franka's Desk"),
        1: ("idle", "activate the arm's controller"),
        MOVE: ("move", ""),
        3: ("guiding", "let go of the guiding buttons"),
        4: ("reflex", "find out why, recover from the error, activate the arm's controller"),
        5: ("user_stopped", "release the stop button or the enabling device"),
        6: ("automatic_error_recovery", "wait"),
    }
)


def follows_commands(mode: int, errors: Sequence[str]) -> bool:
    """Whether a robot in this mode, with these errors in force, follows its controller."""
    return mode == MOVE and not errors


def mode_text(mode: int, errors: Sequence[str]) -> str:
    """Why it doesn't and what to do, in one line; empty where it follows commands."""
    if follows_commands(mode, errors):
        return ""
    name, remedy = MODES.get(mode, (f"mode {mode}", "look at Franka's Desk"))
    what = f"{name}: {', '.join(errors)}" if errors else name
    return f"{what} ({remedy})" if remedy else what
