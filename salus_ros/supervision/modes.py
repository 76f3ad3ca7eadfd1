"""Modes, the causes that put one in force, and the transitions between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import nan
from types import MappingProxyType

from salus_ros.interfaces import Instant, nanoseconds, seconds


class Mode(IntEnum):
    """In order of severity; the numbers are those of SupervisorState.MODE_*."""

    INACTIVE = 0
    NOMINAL = 1
    LIMITED = 2
    SLOW = 3
    HOLD = 4
    STOP = 5
    ESTOP = 6


MODE_TEXTS: Mapping[Mode, str] = MappingProxyType(
    {
        Mode.INACTIVE: "not active: nothing is commanded",
        Mode.NOMINAL: "following the plan",
        Mode.LIMITED: "following the plan as closely as the limits allow",
        Mode.SLOW: "following the plan slowed down",
        Mode.HOLD: "stopping or stopped; resumes by itself",
        Mode.STOP: "stopping or stopped; latched until reset",
        Mode.ESTOP: "emergency stop; latched until reset",
    }
)


@dataclass(frozen=True, slots=True)
class CauseKind:
    """The mode that a cause demands, and its text for people."""

    mode: Mode
    text: str


CAUSES: Mapping[str, CauseKind] = MappingProxyType(
    {
        "plan_deviation": CauseKind(Mode.LIMITED, "the command is away from the plan"),
        "plan_exceeds_limits": CauseKind(Mode.LIMITED, "the plan exceeds the robot's limits"),
        "tool_speed": CauseKind(Mode.LIMITED, "the plan moves the tool faster than it may"),
        "gripper_rate": CauseKind(Mode.LIMITED, "the plan moves the gripper faster than it may"),
        "failure_likely": CauseKind(Mode.SLOW, "a failure is likely"),
        "failure_near": CauseKind(Mode.HOLD, "a failure is likely soon"),
        "prediction_alarm": CauseKind(Mode.HOLD, "the failure predictor's alarm"),
        "collision_near": CauseKind(Mode.STOP, "a collision is likely at once"),
        "detector_alarm": CauseKind(Mode.HOLD, "a detector finds the plan unusual"),
        "detector_stop": CauseKind(Mode.STOP, "a detector finds the plan unusual"),
        "enable_lost": CauseKind(Mode.HOLD, "the enable switch is let go or lost"),
        "resuming": CauseKind(Mode.HOLD, "waits for a chunk observed since the arm came to rest"),
        "rebasing": CauseKind(Mode.HOLD, "moves the command to the measured position"),
        "plan_missing": CauseKind(Mode.HOLD, "no plan"),
        "plan_ran_out": CauseKind(Mode.HOLD, "the plan ran out"),
        "plan_stale": CauseKind(Mode.HOLD, "the plan's observation is too old"),
        "clock_lag": CauseKind(Mode.HOLD, "late ticks put the command behind the plan"),
        "heartbeat_lost": CauseKind(Mode.HOLD, "a required heartbeat is lost"),
        "joint_state_stale": CauseKind(Mode.HOLD, "joint states are late"),
        "chunk_fault": CauseKind(Mode.HOLD, "a chunk had a hard fault"),
        "no_safe_step": CauseKind(Mode.HOLD, "no step along the plan could still be stopped"),
        "hold_requested": CauseKind(Mode.HOLD, "hold requested"),
        "shutdown": CauseKind(Mode.HOLD, "shutting down"),
        "joint_state_lost": CauseKind(Mode.STOP, "joint states are lost"),
        "tracking_error": CauseKind(Mode.STOP, "the arm is away from the command"),
        "robot_not_ready": CauseKind(Mode.STOP, "the robot doesn't follow commands"),
        "repeated_faults": CauseKind(Mode.STOP, "too many hard faults"),
        "stop_requested": CauseKind(Mode.STOP, "stop requested"),
        "estop_requested": CauseKind(Mode.ESTOP, "emergency stop requested"),
        "internal_error": CauseKind(Mode.ESTOP, "the supervisor itself failed"),
    }
)


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause in force: its kind's name, what exactly, and value against bound (nan: none)."""

    name: str
    detail: str = ""
    value: float = nan
    bound: float = nan

    @property
    def mode(self) -> Mode:
        """The mode that it demands."""
        return CAUSES[self.name].mode

    @property
    def text(self) -> str:
        """One line for people."""
        text = CAUSES[self.name].text
        return f"{text}: {self.detail}" if self.detail else text


class ModeMachine:
    """Which mode the causes of each tick put in force.

    The most restrictive wins. HOLD ends when all its causes are gone for `resume_delay` and the
    caller can resume; STOP and ESTOP are latched until `reset`, and then are a HOLD.
    """

    def __init__(self, resume_delay: float) -> None:
        self._resume_delay = nanoseconds(resume_delay)
        self._latched: dict[str, Cause] = {}
        self._holding = True
        self._clear_since: int | None = None
        self.mode = Mode.HOLD
        self.causes: Sequence[Cause] = ()

    def retune(self, resume_delay: float) -> None:
        """Use another delay [s] from now on."""
        self._resume_delay = nanoseconds(resume_delay)

    @property
    def holding(self) -> bool:
        """Whether the arm stops or stands (HOLD, STOP, ESTOP)."""
        return self.mode >= Mode.HOLD

    @property
    def latched(self) -> Sequence[Cause]:
        """Causes that only a reset takes away."""
        return tuple(self._latched.values())

    def latch(self, cause: Cause) -> None:
        """Put a STOP or ESTOP in force until `reset`."""
        self._latched.setdefault(cause.name, cause)

    def reset(self) -> None:
        """Take the latched causes away; HOLD remains until it may end by itself."""
        self._latched.clear()
        self._holding = True
        self._clear_since = None

    def update(self, live: Sequence[Cause], now: Instant, can_resume: bool) -> Mode:
        """The mode at this tick, from the causes that are there now."""
        for cause in live:
            if cause.mode >= Mode.STOP:
                self.latch(cause)
        self._hold(any(cause.mode >= Mode.HOLD for cause in live), now, can_resume)
        in_force = [cause for cause in live if cause.name not in self._latched]
        in_force.extend(self._latched.values())
        if self._holding and not any(cause.mode >= Mode.HOLD for cause in in_force):
            in_force.append(Cause("resuming"))
        if self._holding:
            in_force = [cause for cause in in_force if cause.mode >= Mode.HOLD]
        in_force.sort(key=_severity, reverse=True)
        self.causes = in_force
        self.mode = in_force[0].mode if in_force else Mode.NOMINAL
        return self.mode

    def clear_seconds(self, now: Instant) -> float:
        """For how long a HOLD has had no cause [s]; 0 where it has one, or there is none."""
        return 0.0 if self._clear_since is None else seconds(now.steady - self._clear_since)

    def _hold(self, demanded: bool, now: Instant, can_resume: bool) -> None:
        if demanded or self._latched:
            self._holding = True
            self._clear_since = None
        elif self._holding:
            if self._clear_since is None:
                self._clear_since = now.steady
            waited = now.steady - self._clear_since
            if waited >= self._resume_delay and can_resume:
                self._holding = False


def _severity(cause: Cause) -> int:
    return int(cause.mode)
