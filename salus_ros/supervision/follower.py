"""The motion of each tick: along the plan, to rest, or to where a reset re-bases the command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from salus_ros.interfaces import Instant, seconds
from salus_ros.supervision.chunk_checks import jump
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.modes import Cause, Mode
from salus_ros.supervision.motion import AIM_AHEAD, MotionGenerator, Sample, Step
from salus_ros.supervision.plan import Plan
from salus_ros.supervision.plan_clock import STRETCH_RAMP, scaled
from salus_ros.supervision.plan_keeper import PlanKeeper
from salus_ros.supervision.reference import Curve

# The clock is slowed so far that the tool keeps this share of its speed: what lies between it and
# the limit is for catching up, and for a stop's bounds.
TOOL_SPEED_SHARE: Final = 0.88
# A re-based command has arrived within this distance [rad].
REBASED: Final = 1e-4


# All that a sample along a plan follows from: the sample before it, the plan's curve, the times on
# it of both samples [s], the rate of its clock, the share of the velocity limits.
Inputs = tuple[Sample, Curve, float, float, float, float]


class Follower:
    """Moves the generator on, one sample a tick.

    step: how the last sample came about. rest_since: when the command came to rest [ns of the ROS
    clock]; None: it moves.
    """

    def __init__(
        self, config: GateConfig, generator: MotionGenerator, plans: PlanKeeper, now: Instant
    ) -> None:
        self._config = config
        self._generator = generator
        self._plans = plans
        self._slow = 1.0
        self._rebase: list[float] | None = None
        self._rebase_bound = config.tracking_error
        self._in_stop = False
        self._sampled = 0
        self._ahead: tuple[Inputs, Sample] | None = None
        self.step = Step.STOP
        self.rest_since: int | None = now.ros

    def retune(self, config: GateConfig) -> None:
        """Use other parameters from now on."""
        self._config = config

    def shift(self, jump: int) -> None:
        """Follow a jump of the ROS clock [ns]."""
        if self.rest_since is not None:
            self.rest_since += jump

    @property
    def error_bound(self) -> float:
        """Largest distance of the measured arm from the command [rad]: more while re-basing."""
        return self._config.tracking_error if self._rebase is None else self._rebase_bound

    def rebase(self, positions: Sequence[float], distance: float, *, in_stop: bool = False) -> None:
        """In HOLD, move the command to measured positions [rad], `distance` rad away.

        in_stop: also in STOP and ESTOP, for an arm that doesn't follow the command.
        """
        self._rebase, self._in_stop = list(positions), in_stop
        bound = self._config.tracking_error
        self._rebase_bound = max(bound, distance + bound)

    def end_rebasing(self) -> None:
        """Stay where the command is."""
        self._rebase = None

    def causes(self, now: Instant) -> list[Cause]:
        """One while the command is being re-based."""
        return [] if self._rebase is None else [Cause("rebasing")]

    def anchor(self, now: Instant, holding: bool) -> None:
        """Set the plan's clock where nothing moves."""
        if holding and self._generator.at_rest:
            self._plans.clock.anchor(now, self._slow)

    def begin_tick(self) -> None:
        """From here on one sample is due."""
        self._sampled = self._generator.samples

    def move(self, now: Instant, mode: Mode, slow: bool, fresh: bool) -> Cause | None:
        """One sample; a cause where the plan had to be dropped for it.

        slow: SLOW is in force, or was where the mode is a graver one; fresh: joint states are.
        """
        self._slow = self._ramped(slow)
        plan = self._plans.plan
        if mode >= Mode.HOLD or plan is None:
            self._hold_still(now, mode, fresh)
            return None
        self.rest_since = None
        last, following = self._plans.clock.advance(now, self._stretch(plan, self._slow))
        inputs = self._inputs(plan, last, following, self._plans.clock.rate, self._slow)
        ahead = self._ahead
        sample = ahead[1] if ahead is not None and ahead[0] == inputs else self._track(inputs)
        self.step = self._generator.send(sample)
        if self.step is not Step.STOP:
            return None
        self._plans.drop()
        return Cause("no_safe_step", f"chunk {plan.number} of {plan.source_id}")

    def prepare(self, now: Instant, mode: Mode, slow: bool) -> bool:
        """Work out ahead what `move` will need at `now`, should all be as it is until then.

        Returns whether there was anything to work out.
        """
        plan = self._plans.plan
        if mode >= Mode.HOLD or plan is None:
            return False
        share = self._ramped(slow)
        foreseen = self._plans.clock.foresee(now, self._stretch(plan, share))
        inputs = self._inputs(plan, *foreseen, share)
        if self._ahead is not None and self._ahead[0] == inputs:
            return False
        self._ahead = inputs, self._track(inputs)
        return True

    def _inputs(self, plan: Plan, last: int, following: int, rate: float, share: float) -> Inputs:
        times = plan.since_start(last), plan.since_start(following)
        return (self._generator.sample, plan.reference, *times, rate, share)

    def _track(self, inputs: Inputs) -> Sample:
        """The next sample along the plan; changes nothing."""
        _, curve, time, following, rate, share = inputs
        return self._generator.track(
            scaled(curve.at(time), rate),
            scaled(curve.at(following), rate),
            curve.peaks(time),
            lambda: curve.at(time + AIM_AHEAD),
            share,
        )

    def advance_stop(self) -> None:
        """One sample along the certified stop, unless this tick has its sample already."""
        if self._generator.samples == self._sampled:
            self.step = self._generator.send(self._generator.stop())

    def _ramped(self, slow: bool) -> float:
        """Share of the velocity limits at the next tick: SLOW lowers and raises it gradually."""
        wanted = self._config.slow_factor if slow else 1.0
        most = STRETCH_RAMP * seconds(self._config.period)
        return self._slow + min(max(wanted - self._slow, -most), most)

    def _stretch(self, plan: Plan, slow: float) -> float:
        """How fast the plan's clock may run: SLOW, and for the tool not to become too fast."""
        speed = plan.tool_speed(plan.since_start(self._plans.clock.time))
        allowed = TOOL_SPEED_SHARE * self._config.tool_speed
        return min(slow, allowed / speed if speed > allowed else 1.0)

    def _hold_still(self, now: Instant, mode: Mode, fresh: bool) -> None:
        """Stop, stand, or move to where a reset re-bases the command."""
        generator = self._generator
        if self._rebase is not None and fresh and (mode is Mode.HOLD or self._in_stop):
            self.step = generator.send(generator.approach(self._rebase, self._slow))
            if generator.at_rest and jump(self._rebase, generator.state[0])[0] <= REBASED:
                self._rebase = None
        else:
            self.advance_stop()
        if not generator.at_rest or self._rebase is not None:
            self.rest_since = None
        elif self.rest_since is None:
            self.rest_since = now.ros
