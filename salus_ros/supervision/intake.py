"""From a received chunk to a plan: what of a chunk's checks must come before it is followed.

The rest, which takes longer, is `plan_completion`.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from salus_ros.interfaces import ActionChunk, Instant, nanoseconds, seconds
from salus_ros.supervision.chunk_checks import (
    CheckedActions,
    Rejection,
    check_actions,
    check_space,
    jump,
    rows_in,
)
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.freshness import ChunkOrder
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.motion import AIM_AHEAD
from salus_ros.supervision.plan import Plan, followed_window, make_plan
from salus_ros.supervision.plan_completion import HEAD, PlanCompletion
from salus_ros.supervision.plan_keeper import PlanKeeper
from salus_ros.supervision.reference import CurveLimits, Row

# Check 4 comes after the order and age of a chunk (check 3).
_LIMIT_REASONS: Final = frozenset(
    {
        "chunk_position",
        "chunk_gripper",
        "chunk_velocity",
        "chunk_acceleration",
        "chunk_jerk",
    }
)

# So many of the rows that a plan begins with are looked at before it is followed.
HEAD_LOOKS: Final = 4
# A curve for the moment is smoothed as the plan before it, at most so often: its rows are few.
HEAD_PASSES: Final = 8


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
        self, chunk: ActionChunk, now: Instant, standing: bool, plans: PlanKeeper, commanded: Row
    ) -> PlanCompletion | Rejection:
        """The plan that a chunk makes for now, to be made whole, or why the chunk is dropped.

        Never raises for the right types. standing: the arm is at rest or in HOLD or worse; plans:
        what is followed so far; commanded: positions [joints] rad.
        """
        actions = check_actions(chunk, self._limits, self.config, now.ros)
        if isinstance(actions, Rejection) and actions.reason not in _LIMIT_REASONS:
            return actions
        late = self.order.check(chunk, now, standing)
        if late is not None:
            return late
        if isinstance(actions, Rejection):
            return actions
        due = plans.clock.time_for(chunk.observation_stamp)
        fault = self._check_jump(chunk, actions, due, commanded) or self._check_head(
            chunk, actions, max(due, chunk.start_time)
        )
        if fault is not None:
            return fault
        return self._completion(chunk, actions, now, due, plans.plan)

    def _check_jump(
        self, chunk: ActionChunk, actions: CheckedActions, due: int, commanded: Row
    ) -> Rejection | None:
        """The plan at `due` [ns], between its rows, against the command."""
        rows, last = actions.rows, len(actions.rows) - 1
        place = min(max((due - chunk.start_time) / chunk.time_step, 0.0), float(last))
        before = min(int(place), max(last - 1, 0))
        share = place - before
        first_due = (1 - share) * rows[before] + share * rows[min(before + 1, last)]
        distance, joint = jump(first_due.tolist(), commanded)
        if distance <= self.config.jump_bound:
            return None
        text = f"{self._limits.arm.names[joint]} is {distance:.3g} rad from the command"
        return Rejection("chunk_jump", text, True, distance, self.config.jump_bound)

    def _check_head(
        self, chunk: ActionChunk, actions: CheckedActions, due: int
    ) -> Rejection | None:
        """Check 6 of a few of the rows in force from `due` [ns] until the plan will be whole."""
        space = self._limits.workspace
        if space is None:
            return None
        last = len(actions.rows) - 1
        first = min(max((due - chunk.start_time) // chunk.time_step, 0), last)
        count = min(rows_in(HEAD, seconds(chunk.time_step)), last - first)
        stride = max(1, ceil(count / HEAD_LOOKS))
        for row in range(first, first + count + 1, stride):
            if space.outside(actions.rows[row].tolist()):
                looked = actions.rows[row : row + 1]
                step = seconds(chunk.time_step)
                return check_space(looked, row, step, self._limits, self.config)
        return None

    def _completion(
        self,
        chunk: ActionChunk,
        actions: CheckedActions,
        now: Instant,
        due: int,
        before: Plan | None,
    ) -> PlanCompletion:
        """A plan along the first few rows, smoothed as the one before it, and what completes it."""
        begin, head = min(due, now.ros), max(due, chunk.start_time) + nanoseconds(HEAD)
        passes = 0 if before is None else min(before.passes, HEAD_PASSES)
        window = followed_window(chunk, actions.rows, begin, head)
        plan = make_plan(chunk, actions, now, window, passes)
        if before is not None and before.tool_speeds:
            speed = before.tool_speed(before.since_start(due))
            plan.tool_speeds = [speed] * (len(window.rows) - 1)
        horizon = nanoseconds(self.config.observation_age + AIM_AHEAD)
        completion = PlanCompletion(
            chunk,
            plan,
            actions,
            followed_window(chunk, actions.rows, begin, now.ros + horizon),
            self._limits,
            self.config,
            self._curve,
        )
        completion.cut_short(plan.since_start(head))
        return completion
