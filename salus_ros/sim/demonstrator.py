"""The scripted expert without a memory: what to do next, from any state of arm and blocks.

A learned policy sees one moment. So that its examples are a function of that moment, whatever led
there, this teacher is a velocity field: where the tool is, relative to the block, says where it
goes, how fast, and what the gripper does. A chunk is the field's integral curve from where the
plan is, so chunks of successive moments are parts of one curve. There is nothing that waits, since
who can't remember would wait for ever, and no measured motion: fed back through the
arm's lag it makes the arm swing (tried: plans from the measured velocity, or from the measured
position, ended many episodes in the gate).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from salus_ros.interfaces import BlockPose, FloatArray, Observation
from salus_ros.policy.anchor import Anchor, Start
from salus_ros.policy.backend import PolicyError, Prediction
from salus_ros.sim import expert
from salus_ros.sim.kinematics import tool_down, tool_pose
from salus_ros.sim.motion import WIDTH_SPEED
from salus_ros.sim.tasks import Task, parse_instruction
from salus_ros.sim.world import BLOCK_SIZE

SPEED, YAW_SPEED = 0.18, 1.0
"""Largest speed of the tool [m/s] and of its yaw [rad/s]."""
ACCELERATION, YAW_ACCELERATION = 0.8, 3.0
"""Largest changes of those [m/s^2, rad/s^2]."""
SLOW_START = (0.15, 0.05)
"""Share of those at rest, and speed [m/s] from which all is used: while somebody holds the arm,
successive chunks start anew from where it rests, and must not be far from each other."""
GAIN = 5.0
"""Speed per distance [1/s] near the goal."""
LIFT_SPEED = 0.03
"""Speed at which a lift begins [m/s]: the fingers get hold of the block meanwhile."""
YAW_LEVER = 0.05
"""Metres of misalignment that a radian of yaw counts as."""
ALIGNED = (0.007, 0.020)
"""Misalignment [m] up to which the tool may be at the block, and from which it must be above."""
GRASP_HEIGHT = 0.010
"""Tool point over the block's centre in a grasp [m]: a learner that misses it by some millimetres
doesn't press its fingers on the table."""
CLOSE_HEIGHT = 0.008
"""Height over the grasp [m] below which the gripper closes."""
STILL = (0.018, 0.016)
"""Misalignment and height [m] up to which closing goes on, once begun."""
CLEAR = (0.030, 0.060)
"""Height over the grasp [m] below which the tool stays over its place; from the second it is
free to go."""
HELD_WIDTH = (0.028, 0.0425)
"""Measured opening [m] of a gripper that is closed on a block."""
CLOSING_WIDTH = expert.OPEN - 0.006
"""Measured opening [m] below which the gripper is on its way to closed."""
FADE = 0.4
"""Time constant [s] in which the arm returns to the posture of the kinematics."""
WRIST_RANGE = 0.6
"""How far from its middle the wrist may be for the next grasp to be sought around it [rad]."""
_SUBSTEPS = 2


@dataclass(slots=True)
class _State:
    """Tool pose and velocity [4], opening [m], whether the block is between the closed fingers."""

    pose: FloatArray
    velocity: FloatArray
    width: float
    held: bool


class Demonstrator:
    """Backend that makes chunks of `rows` rows, `time_step` ns apart, of 7 joints and a width."""

    cameras: tuple[str, ...] = ()
    privileged = True

    def __init__(self, rows: int = 32, time_step: int = 33_333_333) -> None:
        self._rows = rows
        self._time_step = time_step
        self._anchor = Anchor()

    def warm_up(self) -> None:
        """Nothing to prepare."""

    def reset(self) -> None:
        """Forget the last chunk."""
        self._anchor.forget()

    def predict(self, observation: Observation) -> Prediction:
        """Rows from the observation's stamp on. Raises PolicyError as the scripted expert does."""
        try:
            task = parse_instruction(observation.instruction)
            block = expert.find_block(observation.privileged_blocks, task.color)
            start, opening = self._anchor.at(observation), observation.joints.gripper
            if start.targets.shape != (8,) or opening is None:
                raise ValueError(f"{len(start.targets)} joints and widths instead of 7 and 1")
            rows = demonstrate(start, opening, task, block, self._rows, self._time_step)
        except ValueError as error:
            self._anchor.forget()
            raise PolicyError(f"demonstrator: {error}") from error
        chunk = Prediction(rows, self._time_step, continues=start.planned)
        self._anchor.remember(observation.stamp, chunk)
        return chunk


def demonstrate(
    start: Start,
    opening: float,
    task: Task,
    block: BlockPose,
    rows: int = 32,
    time_step: int = 33_333_333,
) -> FloatArray:
    """Joint targets [rad] and opening width [m], [rows, 8]. Raises ValueError out of reach.

    start: 7 joints and the opening width. opening: as measured [m].
    """
    state = _measured(start, opening)
    state.held = _holds(state, block)
    goal = _goal(state, task, block)
    return _roll(start, state, lambda dt: _advance(state, task, goal, dt), rows, time_step)


def steer(
    start: Start, pose: FloatArray, closed: bool, rows: int = 32, time_step: int = 33_333_333
) -> FloatArray:
    """Rows [rows, 8] of a motion to a tool pose [4], whatever is there: a disturbance."""
    state = _measured(start, float(start.targets[-1]))

    def law(dt: float) -> bool:
        linear = GAIN * (pose - state.pose)
        linear[:3] *= min(1.0, SPEED / max(float(np.linalg.norm(linear[:3])), 1e-9))
        linear[3] = np.clip(linear[3], -YAW_SPEED, YAW_SPEED)
        _move(state, linear, dt)
        return closed

    return _roll(start, state, law, rows, time_step)


def _measured(start: Start, opening: float) -> _State:
    joints = start.targets[:-1]
    pose = tool_pose(joints)
    velocity = (tool_pose(joints + 1e-3 * start.velocities[:-1]) - pose) / 1e-3
    return _State(pose, velocity, opening, False)


def _roll(
    start: Start, state: _State, law: Callable[[float], bool], rows: int, time_step: int
) -> FloatArray:
    """Integrate a law, which moves the state on by so many seconds and says whether to close."""
    joints, width = start.targets[:-1], float(start.targets[-1])
    offset = joints - tool_down(*(float(v) for v in state.pose))
    result = np.empty((rows, len(start.targets)))
    dt = time_step * 1e-9
    for k in range(rows):
        fade = np.exp(-k * dt / FADE)
        result[k, :-1] = tool_down(*(float(v) for v in state.pose)) + offset * fade
        result[k, -1] = width
        for _ in range(_SUBSTEPS):
            closing = law(dt / _SUBSTEPS)
        wanted = expert.CLOSED if closing else expert.OPEN
        width += min(max(wanted - width, -WIDTH_SPEED * dt), WIDTH_SPEED * dt)
    return result


def _holds(state: _State, block: BlockPose) -> bool:
    if not HELD_WIDTH[0] <= state.width <= HELD_WIDTH[1]:
        return False
    return bool(np.linalg.norm(block.position - state.pose[:3]) <= 0.025)


def _goal(state: _State, task: Task, block: BlockPose) -> FloatArray:
    """Tool pose [4] of the grasp, or of the block below a reach."""
    if task.action == "reach":
        # The yaw is left as it is: nothing in a reach asks for another.
        return expert.above(block, 0.0, float(state.pose[3]))
    azimuth = float(np.arctan2(block.position[1], block.position[0]))
    # Nearest to the tool's, so that it stays the same on the way.
    turned = float(np.clip(state.pose[3] - azimuth, -WRIST_RANGE, WRIST_RANGE))
    yaw = azimuth + turned + expert.quarter(block.yaw - azimuth - turned)
    return expert.above(block, GRASP_HEIGHT, yaw)


def _advance(state: _State, task: Task, goal: FloatArray, dt: float) -> bool:
    """Move the state on by dt [s]; whether the gripper is told to close."""
    if state.held:
        up = state.pose[2] - BLOCK_SIZE / 2 - GRASP_HEIGHT
        rise = min(SPEED, LIFT_SPEED + GAIN * max(up, 0.0), GAIN * max(expert.LIFT - up, 0.0))
        _move(state, np.array([0.0, 0.0, rise, 0.0]), dt)
        return task.action == "pick"
    away = goal - state.pose
    height = -away[2]
    misaligned = float(np.hypot(np.hypot(away[0], away[1]), YAW_LEVER * away[3]))
    closing = task.action == "pick" and _may_close(state, misaligned, height)
    _move(state, _velocity(task, away, misaligned, closing), dt)
    change = WIDTH_SPEED * dt
    if closing:
        state.width = max(state.width - change, HELD_WIDTH[1])
        state.held = state.width <= HELD_WIDTH[1]
    else:
        state.width = min(state.width + change, expert.OPEN)
    return closing


def _move(state: _State, wanted: FloatArray, dt: float) -> None:
    """Move on by dt [s], the velocity going to `wanted` [4] no faster than the tool may."""
    change = wanted - state.velocity
    speed = float(np.linalg.norm(state.velocity[:3])) + YAW_LEVER * abs(float(state.velocity[3]))
    share = min(max(speed / SLOW_START[1], SLOW_START[0]), 1.0)
    most, most_yaw = share * ACCELERATION * dt, share * YAW_ACCELERATION * dt
    change[:3] *= min(1.0, most / max(float(np.linalg.norm(change[:3])), 1e-9))
    change[3] = np.clip(change[3], -most_yaw, most_yaw)
    state.velocity = state.velocity + change
    state.pose = state.pose + state.velocity * dt


def _may_close(state: _State, misaligned: float, height: float) -> bool:
    if state.width < HELD_WIDTH[0]:
        return False  # closed on nothing: open first
    if state.width < CLOSING_WIDTH:
        return misaligned <= STILL[0] and abs(height) <= STILL[1]
    return misaligned <= ALIGNED[0] * 1.2 and height <= CLOSE_HEIGHT


def _velocity(task: Task, away: FloatArray, misaligned: float, closing: bool) -> FloatArray:
    """Of the tool [4]: m/s and rad/s."""
    height = -float(away[2])
    if closing:
        # Straight down: fingers that close on a block mustn't drag it.
        return np.array([0.0, 0.0, GAIN * away[2], 0.0])
    if task.action == "reach":
        wanted, near = expert.REACH, 0.0
    else:
        near = 1.0 - _smooth((misaligned - ALIGNED[0]) / (ALIGNED[1] - ALIGNED[0]))
        wanted = expert.HOVER * (1.0 - near)
    across = max(_smooth((height - CLEAR[0]) / (CLEAR[1] - CLEAR[0])), near)
    linear = GAIN * np.array([across * away[0], across * away[1], wanted - height])
    linear *= min(1.0, SPEED / max(float(np.linalg.norm(linear)), 1e-9))
    yaw = float(np.clip(GAIN * across * away[3], -YAW_SPEED, YAW_SPEED))
    return np.array([*linear, yaw])


def _smooth(share: float) -> float:
    """0 below 0, 1 above 1, a cubic between."""
    u = min(max(share, 0.0), 1.0)
    return u * u * (3.0 - 2.0 * u)
