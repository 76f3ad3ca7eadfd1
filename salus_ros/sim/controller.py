"""The robot's side of the command stream: interpolation, timeout, joint torques.

Commands are samples of a motion on the sender's trajectory clock. The controller plays that clock
at its own rate, one sample behind the newest, and follows the cubic Hermite of positions and
velocities between samples. When samples run short it goes on at constant velocity; after the
command timeout it brakes each joint at constant, bounded deceleration to rest and holds there.

From a hold, commands are accepted again only from near the held position. A real arm's driver
asks for a new activation here; this rig accepts any stream that begins where the arm stands,
because a fresh supervisor starts from the measured position, and a stale one, which goes on from
where it was, is exactly what must not move the arm.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np

from salus_ros.interfaces import FloatArray, JointCommand
from salus_ros.sim.gripper import MAX_SPEED, MAX_WIDTH
from salus_ros.sim.kinematics import LOWER, MAX_VELOCITY, UPPER

JOINTS = 7
_CATCH_UP = 1.02
"""How much faster than real the clock is played while too many samples wait."""
_LEAP = 1.5
"""Two samples whose mean speed is so many times the joints' limit aren't a motion."""
_RESUME_SPEED = 0.5
"""Speed [rad/s] at which the arm goes from where it holds to a stream's first sample."""


class ControllerMode(Enum):
    """What the arm does: hold a position, follow commands, or brake because they ceased."""

    HOLDING = "holding"
    FOLLOWING = "following"
    BRAKING = "braking"


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """Gains and bounds of the joint controller.

    stiffness [7] Nm/rad and damping [7] Nms/rad, in the range of a Panda's joint impedance mode.
    timeout [ns]: without a fresh command for so long, the arm brakes. brake_deceleration rad/s^2.
    resume_tolerance [rad]: how near to the held position a first command must be.
    """

    stiffness: tuple[float, ...] = (1500.0, 1500.0, 1200.0, 1200.0, 500.0, 400.0, 200.0)
    damping: tuple[float, ...] = (80.0, 80.0, 55.0, 50.0, 15.0, 14.0, 10.0)
    timeout: int = 100_000_000
    brake_deceleration: float = 5.0
    resume_tolerance: float = 0.03


@dataclass(frozen=True, slots=True)
class ControllerStatus:
    """State of the robot's side; rejection: why the newest refused command was, else empty."""

    mode: ControllerMode
    accepted: int
    rejected: int
    rejection: str


@dataclass(slots=True)
class _Knot:
    stamp: int
    state: FloatArray
    """[2, 7]: positions rad, velocities rad/s."""


class JointController:
    """Turns a stream of samples into a reference at each physics step, and that into torques."""

    def __init__(self, config: ControllerConfig | None = None) -> None:
        self.config = config or ControllerConfig()
        self._stiffness = np.array(self.config.stiffness)
        self._damping = np.array(self.config.damping)
        self.reset(np.zeros(JOINTS), MAX_WIDTH)

    def reset(self, positions: FloatArray, width: float) -> None:
        """Hold these positions [7] rad and this opening width [m]; forget all commands."""
        self.mode = ControllerMode.HOLDING
        self.width = width
        self._width_goal = width
        self._reference = np.stack([positions, np.zeros(JOINTS)])
        self._start = self._end = _Knot(0, self._reference)
        self._waiting: deque[_Knot] = deque()
        self._clock = 0.0
        self._since_command = 0
        self._period = 10_000_000
        self._last_stamp = -1
        self._last_positions = positions
        self._accepted = self._rejected = 0
        self._rejection = ""

    @property
    def status(self) -> ControllerStatus:
        """Mode and counts of accepted and rejected commands since the last reset."""
        return ControllerStatus(self.mode, self._accepted, self._rejected, self._rejection)

    @property
    def reference(self) -> tuple[FloatArray, FloatArray]:
        """Where the arm should be now: positions [7] rad, velocities [7] rad/s."""
        return self._reference[0].copy(), self._reference[1].copy()

    def command(self, command: JointCommand) -> bool:
        """Take one sample; False where it is refused (see `status.rejection`)."""
        problem = self._problem(command)
        if problem:
            self._rejected += 1
            self._rejection = problem
            return False
        self._accepted += 1
        knot = _Knot(command.stamp, np.stack([command.positions, command.velocities]))
        if self.mode is ControllerMode.HOLDING:
            gap = float(np.abs(command.positions - self._reference[0]).max())
            way = round(gap / _RESUME_SPEED * 1e9)
            self._restart_clock(command.stamp - max(self._period, way))
        else:
            self._period = command.stamp - self._last_stamp
            if not self._waiting and self._clock >= self._end.stamp:
                # Samples ran short. The way to the new one takes as long as was waited for it,
                # so a late sample never asks for a faster motion.
                self._restart_clock(command.stamp - max(self._period, self._since_command))
        self.mode = ControllerMode.FOLLOWING
        self._waiting.append(knot)
        self._last_stamp = command.stamp
        self._last_positions = command.positions
        self._since_command = 0
        if command.gripper is not None:
            self._width_goal = min(max(command.gripper, 0.0), MAX_WIDTH)
        return True

    def _problem(self, command: JointCommand) -> str:
        """Why a sample is refused; empty where it isn't."""
        problem = _malformed(command)
        if problem or self.mode is ControllerMode.BRAKING:
            return problem or "braking after a command timeout"
        if self.mode is ControllerMode.HOLDING:
            gap = float(np.abs(command.positions - self._reference[0]).max())
            far = gap > self.config.resume_tolerance
            return f"{gap:.3f} rad from the held position" if far else ""
        ahead = command.stamp - self._last_stamp
        if not 0 < ahead <= self.config.timeout:
            return f"stamp {ahead} ns after the last command's"
        step = np.abs(command.positions - self._last_positions)
        leaps = (step > _LEAP * MAX_VELOCITY * ahead * 1e-9).any()
        return "position leaps from the last command's" if leaps else ""

    def _restart_clock(self, stamp: int) -> None:
        self._clock = float(stamp)
        self._start = self._end = _Knot(stamp, self._reference.copy())
        self._waiting.clear()

    def step(self, dt: int) -> None:
        """Move the reference and the gripper's goal on by dt [ns]."""
        self._step_gripper(dt * 1e-9)
        if self.mode is ControllerMode.HOLDING:
            return
        self._since_command += dt
        if self.mode is ControllerMode.FOLLOWING and self._since_command > self.config.timeout:
            self._brake()
        lag = len(self._waiting)
        self._clock += dt * _CATCH_UP if lag > 2 else dt
        while self._waiting and self._clock >= self._end.stamp:
            self._start, self._end = self._end, self._waiting.popleft()
        if self._clock <= self._end.stamp:
            self._reference = _hermite(self._start, self._end, self._clock)
        elif self.mode is ControllerMode.BRAKING:
            self._reference = self._end.state
            self.mode = ControllerMode.HOLDING
            self._last_stamp = -1
        else:
            beyond = (self._clock - self._end.stamp) * 1e-9
            end = self._end.state
            self._reference = np.stack([end[0] + end[1] * beyond, end[1]])

    def _brake(self) -> None:
        self.mode = ControllerMode.BRAKING
        self._rejection = f"no command for {self.config.timeout / 1e6:.0f} ms"
        positions, velocities = self._reference
        duration = float(np.abs(velocities).max()) / self.config.brake_deceleration
        self._restart_clock(0)
        # Between these two the Hermite is a parabola: constant deceleration, all joints together.
        stop = np.stack([positions + velocities * duration / 2, np.zeros(JOINTS)])
        self._end = _Knot(round(duration * 1e9), stop)

    def _step_gripper(self, seconds: float) -> None:
        most = MAX_SPEED * seconds
        self.width += min(max(self._width_goal - self.width, -most), most)

    @property
    def width_goal(self) -> float:
        """Commanded opening width [m], before the gripper's own speed limit."""
        return self._width_goal

    def torques(
        self, positions: FloatArray, velocities: FloatArray, bias: FloatArray
    ) -> FloatArray:
        """Joint torques [7] Nm for the measured state; bias: gravity and Coriolis torques."""
        wanted = self._reference
        torques: FloatArray = self._stiffness * (wanted[0] - positions)
        torques += self._damping * (wanted[1] - velocities)
        torques += bias
        return torques


def _malformed(command: JointCommand) -> str:
    """What is wrong with a sample by itself; empty where nothing is."""
    positions, velocities = command.positions, command.velocities
    if positions.shape != (JOINTS,) or velocities.shape != (JOINTS,):
        return f"{positions.shape} positions, {velocities.shape} velocities"
    width = 0.0 if command.gripper is None else command.gripper
    if not (np.isfinite(positions).all() and np.isfinite(velocities).all() and np.isfinite(width)):
        return "command isn't finite"
    if (positions < LOWER).any() or (positions > UPPER).any():
        return "position outside the joint limits"
    return "velocity above the joint limits" if (np.abs(velocities) > MAX_VELOCITY).any() else ""


def _hermite(start: _Knot, end: _Knot, clock: float) -> FloatArray:
    """State [2, 7] at `clock` ns on the cubic through both knots' positions and velocities."""
    if end.stamp <= start.stamp:
        return end.state
    h = (end.stamp - start.stamp) * 1e-9
    u = (clock - start.stamp) * 1e-9 / h
    v = 1.0 - u
    weights = np.array(
        (
            (v * v * (1 + 2 * u), u * v * v * h, u * u * (3 - 2 * u), -u * u * v * h),
            (-6 * u * v / h, v * (1 - 3 * u), 6 * u * v / h, u * (3 * u - 2)),
        )
    )
    result: FloatArray = weights @ np.concatenate((start.state, end.state))
    return result
