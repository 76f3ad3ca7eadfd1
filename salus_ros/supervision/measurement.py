"""What is known of the arm itself: the newest joint state, its age and how well it follows."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite

import numpy as np

from salus_ros.interfaces import Instant, JointState, seconds
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.freshness import Aged
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.modes import Cause
from salus_ros.supervision.reference import Row


def check_joint_values(
    positions: Sequence[float], velocities: Sequence[float], names: Sequence[str]
) -> str:
    """What is wrong with a joint state, in one line; empty: nothing."""
    for quantity, values in (("positions", positions), ("velocities", velocities)):
        if len(values) != len(names):
            return f"joint state has {len(values)} {quantity}: expected {len(names)}"
        if not all(map(isfinite, values)):
            name, value = next(
                (n, v) for n, v in zip(names, values, strict=True) if not isfinite(v)
            )
            return f"joint state: {quantity} of {name} is {value}"
    return ""


class Measurement:
    """The newest valid joint state. Invalid ones are counted and then missing: their age tells."""

    def __init__(self, config: GateConfig, limits: RobotLimits) -> None:
        self._config = config
        self._limits = limits.arm
        self._workspace = limits.workspace
        self._aged: Aged | None = None
        self.positions: list[float] = []
        self.velocities: list[float] = []
        self.invalid = 0

    def retune(self, config: GateConfig) -> None:
        """Use other parameters from now on."""
        self._config = config

    def take(self, joints: JointState, now: Instant) -> str:
        """Take a joint state over; what is wrong with it, or empty."""
        # Python's floats: to go through a numpy array value by value takes many times as long.
        positions = np.asarray(joints.positions, np.float64).tolist()
        velocities = np.asarray(joints.velocities, np.float64).tolist()
        wrong = check_joint_values(positions, velocities, self._limits.names)
        ahead = seconds(joints.stamp - now.ros)
        if not wrong and ahead > self._config.future_stamp:
            wrong = f"joint state is stamped {ahead:.3g} s in the future"
        if wrong:
            self.invalid += 1
            return wrong
        self._aged = Aged(joints.stamp, now)
        self.positions, self.velocities = positions, velocities
        return ""

    def shift(self, jump: int) -> None:
        """Follow a jump of the ROS clock [ns]."""
        if self._aged is not None:
            self._aged.shift(jump)

    def age(self, now: Instant) -> float:
        """Age of the newest joint state [s]; infinite where there is none."""
        return inf if self._aged is None else self._aged.seconds(now)

    def distance(self, commanded: Row) -> float:
        """Largest distance of a measured joint from the command [rad]; -1: no measurement."""
        if not self.positions:
            return -1.0
        worst = 0.0
        for q, c in zip(self.positions, commanded):
            worst = max(worst, abs(q - c))
        return worst

    def moving(self) -> str:
        """Which joint moves and how fast, in one line; empty: none does."""
        for name, velocity in zip(self._limits.names, self.velocities, strict=True):
            if abs(velocity) > self._config.rest_velocity:
                return f"{name} moves at {velocity:.3g} rad/s: let the arm come to rest"
        return ""

    def outside(self) -> str:
        """Which joint or point stands outside its limits, in one line; empty: none does."""
        limits = self._limits
        for name, q, low, high in zip(
            limits.names, self.positions, limits.lower, limits.upper, strict=True
        ):
            if not low <= q <= high:
                return (
                    f"{name} at {q:.4f} rad is outside {low:g} to {high:g}: move it inside by hand"
                )
        space = self._workspace
        return "" if space is None else _moved_by_hand(space.outside(self.positions))

    def causes(self, now: Instant, commanded: Row, error_bound: float) -> list[Cause]:
        """Causes that the measurement gives at a tick."""
        found = []
        age = self.age(now)
        if age > self._config.joint_state_age_stop:
            bound = self._config.joint_state_age_stop
            found.append(Cause("joint_state_lost", f"{age:.3g} s old", age, bound))
        elif age > self._config.joint_state_age_hold:
            bound = self._config.joint_state_age_hold
            found.append(Cause("joint_state_stale", f"{age:.3g} s old", age, bound))
        error = self.distance(commanded)
        if error > error_bound:
            found.append(Cause("tracking_error", f"by {error:.3g} rad", error, error_bound))
        return found


def _moved_by_hand(outside: str) -> str:
    return f"{outside}: move it inside by hand" if outside else ""
