"""A scripted policy that reads the blocks' true poses: demonstrations, and a graph without a model.

It plans a whole motion from what it sees, smooth and the same for the same view, and hands out
the next rows of it at each inference, so successive chunks are parts of one motion. It plans
anew, from the planned state, when the block isn't where the plan assumed it or has left the
gripper; from the measured one when the arm isn't where the plan is (held by the supervisor).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from salus_ros.interfaces import BlockPose, FloatArray, Observation, seconds
from salus_ros.policy.backend import PolicyError, Prediction
from salus_ros.sim.kinematics import tool_down, tool_pose
from salus_ros.sim.motion import Motion, ToolState
from salus_ros.sim.tasks import Task, parse_instruction
from salus_ros.sim.world import BLOCK_SIZE

OPEN, CLOSED = 0.075, 0.015
"""Opening widths [m] for approach and grasp; the grasp squeezes a 4 cm block."""
HOVER = 0.09
"""Tool point's height above the block's centre before it goes down [m]."""
LIFT = 0.15
"""How high a block is lifted [m]."""
REACH = 0.09
"""Tool point's height above the block's centre in a reach [m]."""
SAFE_HEIGHT = 0.09
"""Tool height [m] below which it first goes straight up: fingers clear the blocks above it."""
LOWEST = 0.018
"""The tool point's least height above the table [m]."""
SETTLE, SQUEEZE = 0.10, 0.70
"""Rest before closing, and time for closing [s]."""

ARM_TOLERANCE, RESTING_TOLERANCE = 0.10, 0.015
"""Joints farther from the plan than this [rad]: plan from the measured state. The second holds
where the arm rests although the plan moves: somebody holds it, so don't run away from it."""
RESTING_SPEED = 0.02
"""Joint speed below which the arm rests [rad/s]."""
BLOCK_TOLERANCE, YAW_TOLERANCE = 0.008, 0.12
"""Block farther from where the plan assumed it [m, rad]: plan anew."""
GRASP_TOLERANCE = 0.035
"""Block farther from the tool point than this while it is carried [m]: it is lost."""
HELD_WIDTH = (0.028, 0.044)
"""Measured opening [m] of a gripper that is closed on a block."""
_CARRYING = ("lift", "carry")


@dataclass(frozen=True, slots=True)
class _Plan:
    """A motion from a time [ns] on, made for one task and one pose of its block.

    offset [7] rad: from the kinematics' joints to the arm's own at the start; fades with time.
    before: the plan that it takes over from, in force until its start.
    """

    task: Task
    block: BlockPose
    start: int
    motion: Motion
    offset: FloatArray
    before: _Plan | None = None

    def at(self, time: int) -> tuple[str, ToolState, FloatArray]:
        """Stage, tool state and joints [7] rad at `time` [ns]."""
        if self.before is not None and time < self.start:
            return self.before.at(time)
        elapsed = seconds(time - self.start)
        stage, state = self.motion.at(elapsed)
        x, y, z, yaw = (float(v) for v in state.pose)
        return stage, state, tool_down(x, y, z, yaw) + self.offset * _fade(elapsed, self.offset)


class ScriptedExpert:
    """Backend that makes chunks of `rows` rows, `time_step` ns apart, of 7 joints and a width.

    lead [ns]: a new plan begins this long after the observation, at least as long as a chunk
    takes to reach the arm; what is due before is still the old plan.
    """

    cameras: tuple[str, ...] = ()
    privileged = True

    def __init__(
        self, rows: int = 32, time_step: int = 33_333_333, lead: int = 100_000_000
    ) -> None:
        if rows < 2 or time_step <= 0 or lead < 0:
            raise ValueError(f"{rows} rows, {time_step} ns, lead {lead} ns: >= 2, > 0, >= 0")
        self._lead = lead
        self._rows = rows
        self._time_step = time_step
        self._plan: _Plan | None = None

    def warm_up(self) -> None:
        """Nothing to prepare."""

    def reset(self) -> None:
        """Forget the plan."""
        self._plan = None

    def predict(self, observation: Observation) -> Prediction:
        """Rows of the plan from the observation's stamp on.

        Raises PolicyError for an unknown instruction, a block that isn't there or can't be
        reached, and where the observation isn't of 7 joints.
        """
        if observation.joints.positions.shape != (7,):
            raise PolicyError(f"expert: {observation.joints.positions.size} joints instead of 7")
        try:
            task = parse_instruction(observation.instruction)
            block = find_block(observation.privileged_blocks, task.color)
            # From where the arm was found, rather than from the plan: nothing to blend it with.
            anew = self._plan is None or _astray(self._plan, observation)
            self._plan = self._renew(observation, task, block)
            rows = self._sample(self._plan, observation.stamp)
            return Prediction(rows, self._time_step, continues=not anew)
        except ValueError as error:
            # A plan that can't be followed must not be gone on with either.
            self._plan = None
            raise PolicyError(f"expert: {error}") from error

    def _sample(self, plan: _Plan, stamp: int) -> FloatArray:
        rows = []
        for k in range(self._rows):
            _, state, joints = plan.at(stamp + k * self._time_step)
            rows.append([*joints, state.width])
        return np.array(rows)

    def _renew(self, observation: Observation, task: Task, block: BlockPose) -> _Plan:
        """The plan in force, or a new one where it doesn't fit what is seen."""
        plan, stamp = self._plan, observation.stamp
        if plan is None or _astray(plan, observation):
            return _plan_from_measured(observation, task, block, self._lead)
        stage = plan.at(stamp)[0]
        if plan.task == task and not _outdated(plan, stage, observation, block):
            return plan
        start = stamp + self._lead
        _, state, joints = plan.at(start)
        new = _make_plan(task, block, (start, state, joints), held=False)
        return replace(new, before=_only(plan))


def _astray(plan: _Plan, observation: Observation) -> bool:
    """Whether the arm isn't where the plan is."""
    joints = observation.joints
    gap = float(np.abs(plan.at(observation.stamp)[2] - joints.positions).max())
    rests = float(np.abs(joints.velocities).max()) < RESTING_SPEED
    return gap > (RESTING_TOLERANCE if rests else ARM_TOLERANCE)


def _holds(observation: Observation, block: BlockPose) -> bool:
    """Whether the block is between the closed fingers."""
    width = observation.joints.gripper
    if width is None or not HELD_WIDTH[0] <= width <= HELD_WIDTH[1]:
        return False
    tool = tool_pose(observation.joints.positions)
    return bool(np.linalg.norm(block.position - tool[:3]) <= GRASP_TOLERANCE)


def _only(plan: _Plan) -> _Plan:
    """The plan without the ones before it, which would otherwise pile up."""
    return replace(plan, before=None)


def find_block(blocks: tuple[BlockPose, ...], color: str) -> BlockPose:
    """The block of this colour. Raises ValueError, listing those seen, where there is none."""
    for block in blocks:
        if block.color == color:
            return block
    seen = ", ".join(b.color for b in blocks) or "none"
    raise ValueError(f"no {color} block among those seen: {seen}")


def _outdated(plan: _Plan, stage: str, observation: Observation, block: BlockPose) -> bool:
    """Whether the block isn't where the plan assumes it in this stage."""
    if stage in ("close", "settle"):
        return False
    if stage in _CARRYING:
        tool = tool_pose(observation.joints.positions)
        return bool(np.linalg.norm(block.position - tool[:3]) > GRASP_TOLERANCE)
    moved = float(np.linalg.norm(block.position - plan.block.position))
    turned = abs(quarter(block.yaw - plan.block.yaw))
    return moved > BLOCK_TOLERANCE or (plan.task.action == "pick" and turned > YAW_TOLERANCE)


def _plan_from_measured(observation: Observation, task: Task, block: BlockPose, lead: int) -> _Plan:
    """A plan from where the arm is; at once where it moves, else after the lead."""
    joints = observation.joints
    pose = tool_pose(joints.positions)
    step = 1e-3
    velocity = (tool_pose(joints.positions + joints.velocities * step) - pose) / step
    if float(np.abs(joints.velocities).max()) < RESTING_SPEED:
        velocity = np.zeros(4)
    else:
        lead = 0
    width = OPEN if joints.gripper is None else joints.gripper
    state = ToolState(pose, velocity, np.zeros(4), width)
    start = (observation.stamp + lead, state, joints.positions)
    return _make_plan(task, block, start, _holds(observation, block))


def _make_plan(
    task: Task, block: BlockPose, begin: tuple[int, ToolState, FloatArray], held: bool
) -> _Plan:
    """begin: time [ns], tool state and joints [7] rad that the plan starts from."""
    start, state, joints = begin
    if task.action == "reach":
        motion = _reach(state, block)
    else:
        motion = _lift(state) if held else _pick(state, block)
    x, y, z, yaw = (float(v) for v in state.pose)
    return _Plan(task, block, start, motion, joints - tool_down(x, y, z, yaw))


def _pick(state: ToolState, block: BlockPose) -> Motion:
    motion = Motion(state)
    yaw = grasp_yaw(block)
    _rise(motion, state)
    motion.move_to("approach", above(block, HOVER, yaw), OPEN)
    motion.move_to("descend", above(block, 0.0, yaw), OPEN)
    motion.wait("settle", SETTLE, OPEN)
    motion.wait("close", SQUEEZE, CLOSED)
    motion.move_to("lift", above(block, LIFT, yaw), CLOSED)
    motion.wait("carry", 0.0, CLOSED)
    return motion


def _lift(state: ToolState) -> Motion:
    """Straight up from where the tool is, with the block that it holds."""
    motion = Motion(state)
    up = state.pose.copy()
    up[2] = max(float(up[2]), LIFT + BLOCK_SIZE / 2)
    motion.move_to("lift", up, CLOSED)
    motion.wait("carry", 0.0, CLOSED)
    return motion


def _reach(state: ToolState, block: BlockPose) -> Motion:
    motion = Motion(state)
    _rise(motion, state)
    # The yaw is left as it is: nothing in a reach asks for another.
    motion.move_to("reach", above(block, REACH, float(state.pose[3])), OPEN)
    return motion


def _rise(motion: Motion, state: ToolState) -> None:
    """First open the gripper and go straight up, where the tool stands low among the blocks."""
    if state.pose[2] >= SAFE_HEIGHT:
        return
    if state.width < OPEN - 0.02 and float(np.abs(state.velocity).max()) < 0.02:
        motion.wait("open", 0.0, OPEN)
    up = state.pose.copy()
    up[2] = SAFE_HEIGHT + 0.02
    motion.move_to("rise", up, OPEN)


def above(block: BlockPose, height: float, yaw: float) -> FloatArray:
    """Tool pose [4] `height` m above the block's centre. Raises ValueError out of reach."""
    x, y, z = (float(v) for v in block.position)
    # A block that is tipped or pressed down must not lead the fingers into the table.
    pose = np.array([x, y, max(z, LOWEST) + height, yaw])
    # Raises for a pose out of reach now, rather than when the plan comes near it.
    tool_down(*(float(v) for v in pose))
    return pose


def grasp_yaw(block: BlockPose) -> float:
    """Yaw along the block's sides that turns the wrist least: at most 45 degrees from its middle.

    The wrist's angle is that of the tool against the arm's own azimuth, not against the table.
    """
    azimuth = float(np.arctan2(block.position[1], block.position[0]))
    return azimuth + quarter(block.yaw - azimuth)


def quarter(yaw: float) -> float:
    """The yaw modulo a quarter turn, in [-45, 45) degrees: all that a square block has."""
    return float((yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def _fade(elapsed: float, offset: FloatArray) -> float:
    """From 1 at the start of a plan to 0, smooth, and slower for a larger offset."""
    duration = max(0.8, 4.0 * float(np.abs(offset).max()))
    u = min(max(elapsed / duration, 0.0), 1.0)
    return 1.0 - u * u * u * (10 - 15 * u + 6 * u * u)
