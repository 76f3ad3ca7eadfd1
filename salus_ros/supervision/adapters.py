"""What is sent to a robot's controller, and the curve that the controller makes of it.

Each adapter names its interpolation; limits are verified on that curve at 1 kHz (`verification`),
whichever adapter is in use:

- `joint_state`: positions and velocities, joined by cubics;
- `joint_trajectory`: positions, velocities and accelerations, joined by quintics;
- `float64_multi_array`: bare positions without a time, taken as they come. They make a curve only
  where the controller takes one each cycle: a 100 Hz staircase in a 1 kHz loop is a step of
  velocity at each stair. So the commands have to come at the controller's own rate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from salus_ros.interfaces import Instant, JointCommand
from salus_ros.supervision.errors import LimitsError

JOINT_STATE = "joint_state"
JOINT_TRAJECTORY = "joint_trajectory"
FLOAT64_MULTI_ARRAY = "float64_multi_array"

# Rates that differ by no more than this share are the same: parameters are typed by people.
SAME_RATE = 1e-6


# What joins the samples of each, a name in `verification.CURVES`; empty: nothing does.
INTERPOLATION: Mapping[str, str] = MappingProxyType(
    {JOINT_STATE: "cubic", JOINT_TRAJECTORY: "quintic", FLOAT64_MULTI_ARRAY: ""}
)


def check_adapter(name: str, rate: float, controller_rate: float) -> None:
    """LimitsError where an adapter may not be used at a rate of commands [Hz].

    controller_rate: of the robot's own control loop [Hz]; 0: unknown.
    """
    if INTERPOLATION[name] or abs(rate - controller_rate) <= SAME_RATE * rate:
        return
    known = f"at {controller_rate:g} Hz" if controller_rate else "at a rate that isn't given"
    raise LimitsError(
        f"output {name} has no time, and the controller, {known} (controller_rate), would take "
        f"commands at {rate:g} Hz as a staircase, a step of velocity at each stair: set rate to "
        "the controller's own, or use another output"
    )


class TrajectoryPoints:
    """The newest commands as points in time, for a controller that replaces its trajectory.

    Each command is due `lead` periods after the tick that made it. A message holds every command
    that isn't due yet, so that what is being executed goes on unchanged when it is replaced, and a
    message may be late by `lead` - 1 periods. The times are those of the trajectory clock, `lead`
    periods on; where ticks come later than that the controller has run dry, and they move on.
    """

    def __init__(self, period: int, lead: int) -> None:
        """period of a tick [ns]; lead: in periods, at least 1."""
        self._period = period
        self._ahead = lead * period
        self._commands: deque[JointCommand] = deque(maxlen=lead)
        self._due: int | None = None

    def add(self, command: JointCommand, now: Instant) -> tuple[int, Sequence[JointCommand]]:
        """When the trajectory starts [ns, ROS clock], and its points, one period apart.

        The first point is due one period after the start.
        """
        self._commands.append(command)
        self._due = self._next_due(now.ros)
        return self._due - len(self._commands) * self._period, self._commands

    def _next_due(self, now: int) -> int:
        if self._due is None:
            return now + self._ahead
        following = self._due + self._period
        if following - now > 2 * self._ahead + self._period:  # the clock jumped back
            return now + self._ahead
        return max(following, now + self._period)
