"""From a received chunk to a plan: all checks of a chunk, in their order."""

from __future__ import annotations

from salus_ros.interfaces import ActionChunk, Instant
from salus_ros.supervision.chunk_checks import CheckedActions, Rejection, check_actions, jump
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.freshness import ChunkOrder
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.motion import AIM_AHEAD
from salus_ros.supervision.plan import Plan, make_plan
from salus_ros.supervision.plan_clock import PlanClock
from salus_ros.supervision.reference import CurveLimits, Row

# Checks 4 and 6 come after the order and age of a chunk (check 3).
_LIMIT_REASONS = frozenset(
    {
        "chunk_position",
        "chunk_gripper",
        "chunk_velocity",
        "chunk_acceleration",
        "chunk_jerk",
        "chunk_workspace",
        "chunk_tool_speed",
    }
)


class ChunkIntake:
    """Judges chunks; remembers the order of those that passed."""

    def __init__(self, config: GateConfig, limits: RobotLimits, curve: CurveLimits) -> None:
        self.config = config
        self._limits = limits
        self._curve = curve
        self.order = ChunkOrder(config)

    def retune(self, config: GateConfig, curve: CurveLimits) -> None:
        """Use other parameters from now on."""
        self.config, self._curve = config, curve
        self.order.retune(config)

    def judge(
        self, chunk: ActionChunk, now: Instant, standing: bool, clock: PlanClock, commanded: Row
    ) -> Plan | Rejection:
        """The plan that a chunk makes, or why it is dropped; never raises for the right types.

        standing: the arm is at rest or in HOLD or worse. commanded: positions [joints] rad.
        """
        actions = check_actions(chunk, self._limits, self.config, now.ros)
        if isinstance(actions, Rejection) and actions.reason not in _LIMIT_REASONS:
            return actions
        late = self.order.check(chunk, now, standing)
        if late is not None:
            return late
        if isinstance(actions, Rejection):
            return actions
        plan = self._plan(chunk, actions, now, clock)
        first_due = plan.raw.position(plan.since_start(clock.time_for(chunk.observation_stamp)))
        distance, joint = jump(first_due, commanded)
        if distance > self.config.jump_bound:
            text = f"{self._limits.arm.names[joint]} is {distance:.3g} rad from the command"
            return Rejection("chunk_jump", text, True, distance, self.config.jump_bound)
        self.order.accept(chunk)
        return plan

    def _plan(
        self, chunk: ActionChunk, actions: CheckedActions, now: Instant, clock: PlanClock
    ) -> Plan:
        begin = clock.time_for(chunk.observation_stamp)
        horizon = self.config.observation_age + AIM_AHEAD
        space = self._limits.workspace
        tool = None if space is None else space.tool
        return make_plan(chunk, actions, now, begin, horizon, self._curve, tool)
