"""After each tick: how far the command is from the plan, and the gripper's share of the tick."""

from __future__ import annotations

from salus_ros.interfaces import Instant
from salus_ros.supervision.chunk_checks import jump
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.gripper import GripperCommand
from salus_ros.supervision.interventions import InterventionQueue
from salus_ros.supervision.limited import LimitedConditions
from salus_ros.supervision.modes import Cause, Mode
from salus_ros.supervision.plan_keeper import PlanKeeper
from salus_ros.supervision.reference import Row


class PlanJudge:
    """Moves the gripper, and puts LIMITED in force where the arm can't follow its plan.

    deviation: of the command from the plan [rad]; -1: no plan is followed. gripper: None where the
    robot has none.
    """

    def __init__(self, config: GateConfig, queue: InterventionQueue) -> None:
        self._config = config
        self._limited = LimitedConditions(config, queue)
        self.deviation = -1.0
        self.gripper: GripperCommand | None = None

    def retune(self, config: GateConfig) -> None:
        """Use other parameters from now on."""
        self._config = config
        self._limited.retune(config)

    def causes(self, now: Instant) -> list[Cause]:
        """Those of LIMITED that are in force."""
        return self._limited.causes()

    def judge(self, plans: PlanKeeper, commanded: Row, mode: Mode, now: Instant) -> None:
        """Judge a tick's sample, commanded [joints] rad, in the mode of the tick."""
        plan = plans.plan
        if plan is None or mode >= Mode.HOLD:
            self.deviation = -1.0
            self._limited.end(mode, plans.id, now)
            return
        time = plans.clock.time
        place = plan.since_start(time)
        self.deviation, _ = jump(plan.raw.position(place), commanded)
        width = plan.width(time)
        lag = 0.0
        if self.gripper is not None and width is not None:
            lag = self.gripper.follow(width)
        values = {
            "plan_deviation": self.deviation,
            "plan_exceeds_limits": plan.excess,
            "tool_speed": plan.tool_speed(place) / self._config.tool_speed,
            "gripper_rate": lag,
        }
        self._limited.judge(values, mode, plans.id, now)
