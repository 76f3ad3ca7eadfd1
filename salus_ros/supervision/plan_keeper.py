"""The plan that is followed, the one that comes after it, and the clock that it is followed on."""

from __future__ import annotations

from math import inf

from salus_ros.interfaces import Instant, nanoseconds, seconds
from salus_ros.supervision.chunk_checks import jump
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.modes import Cause
from salus_ros.supervision.plan import Plan
from salus_ros.supervision.plan_clock import PlanClock
from salus_ros.supervision.reference import Row


class PlanKeeper:
    """Which plan is in force, and whether it can be followed."""

    def __init__(self, config: GateConfig, now: Instant) -> None:
        self._config = config
        self._period = config.period
        self._next: Plan | None = None
        self.plan: Plan | None = None
        self.clock = PlanClock(config.period, config.observation_age, now)

    @property
    def id(self) -> tuple[str, int]:
        """Source and number of the chunk behind the plan; ("", 0): none."""
        return ("", 0) if self.plan is None else (self.plan.source_id, self.plan.number)

    def retune(self, config: GateConfig) -> None:
        """Use other parameters from now on."""
        self._config = config

    def adopt(self, plan: Plan, holding: bool) -> None:
        """Follow a plan now, or once it begins where another one leads up to it."""
        if self._leads_up_to(plan) or self.plan is None or holding:
            self._take_up(plan)
        else:
            self._next = plan

    def _leads_up_to(self, plan: Plan) -> bool:
        return plan.start <= self.clock.time_for(plan.observation_stamp) + self._period

    def _take_up(self, plan: Plan) -> None:
        self.clock.take_up(plan.observation_stamp)
        self.plan, self._next = plan, None

    def drop(self) -> None:
        """Follow nothing."""
        self.plan = self._next = None

    def withdraw(self, plan: Plan) -> None:
        """Follow anything but this plan."""
        if self.plan is plan:
            self.plan = None
        if self._next is plan:
            self._next = None

    def shift(self, jump: int) -> None:
        """Follow a jump of the ROS clock [ns]."""
        self.clock.shift(jump)
        for plan in (self.plan, self._next):
            if plan is not None:
                plan.shift(jump)

    def causes(self, now: Instant, holding: bool) -> list[Cause]:
        """Why the plan can't be followed at this tick."""
        if self._next is not None and self._leads_up_to(self._next):
            self._take_up(self._next)
        following = self.clock.time + self._period
        if self.plan is None:
            return [Cause("plan_missing")]
        age = self.plan.observation.seconds(now)
        if age > self._config.observation_age:
            return [Cause("plan_stale", f"{age:.3g} s", age, self._config.observation_age)]
        if self.plan.since_start(following) > self.plan.end:
            return [Cause("plan_ran_out", f"after {self.plan.rows} rows")]
        lag = seconds(self.clock.lag(now))
        if abs(lag) > self._config.clock_lag and not holding:
            return [Cause("clock_lag", f"{lag:.3g} s", lag, self._config.clock_lag)]
        return []

    def distance(self, commanded: Row, now: Instant) -> float:
        """How far the command is from where the plan is now [rad]; infinite without a plan."""
        if self.plan is None:
            return inf
        return jump(self.plan.raw.position(self.plan.since_start(now.ros)), commanded)[0]

    def can_resume(self, now: Instant, rest_since: int) -> bool:
        """Whether the plan is due, and observed since the arm came to rest at `rest_since` [ns]."""
        if self.plan is None or self.plan.start > now.ros:
            return False
        return self.plan.observation_stamp >= rest_since + nanoseconds(self._config.settle_time)
