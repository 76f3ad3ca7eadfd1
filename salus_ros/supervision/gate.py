"""The safety gate: chunks and measurements in, one safe command a tick out.

A library without threads, clocks or ROS: every call says what time it is. Calls must not overlap.
Whatever comes in, the commands stay inside the operating limits of position, velocity, acceleration
and jerk, by divided differences over the ticks and on each adapter's curve between them, and can
always still be stopped inside them. It is not a certified safety function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from salus_ros.interfaces import (
    ActionChunk,
    Instant,
    JointCommand,
    JointState,
    seconds,
)
from salus_ros.supervision.chunk_checks import Rejection, jump
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.errors import GateRefusal, LimitsError
from salus_ros.supervision.freshness import ClockWatch
from salus_ros.supervision.gate_state import GateState, TickResult
from salus_ros.supervision.gripper import GripperCommand
from salus_ros.supervision.intake import ChunkIntake
from salus_ros.supervision.interpolation import GeneratorLimits, generator_limits
from salus_ros.supervision.interventions import Intervention, InterventionQueue, Kind
from salus_ros.supervision.limited import LimitedConditions, record_mode
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.measurement import Measurement
from salus_ros.supervision.modes import MODE_TEXTS, Cause, Mode, ModeMachine
from salus_ros.supervision.motion import AIM_AHEAD, MotionGenerator, Step
from salus_ros.supervision.parties import HardFaults, Heartbeats
from salus_ros.supervision.plan import Plan
from salus_ros.supervision.plan_clock import PlanClock, scaled
from salus_ros.supervision.plan_keeper import PlanKeeper
from salus_ros.supervision.prediction_gate import EnableSwitch, PredictionGate
from salus_ros.supervision.reconfiguration import at_odds, changed
from salus_ros.supervision.reference import CurveLimits
from salus_ros.supervision.space_guard import SpaceGuard
from salus_ros.supervision.stop import Stop

__all__ = ["GateState", "SafetyGate", "TickResult"]

# The plan's curve may use this share of the generator's limits: the rest is for catching up.
CURVE_SHARE = 0.98
# The clock is slowed so far that the tool keeps this share of its speed: what lies between it and
# the limit is for catching up, and for a stop's bounds.
TOOL_SPEED_SHARE = 0.88
# A tick later than this many periods after the one before has missed its deadline.
LATE_PERIODS = 1.5
# A re-based command has arrived within this distance [rad].
REBASED = 1e-4


class SafetyGate:
    """See the module. Life: activate, then one tick a period; to end, begin_shutdown and tick on
    until `at_rest`, then deactivate.
    """

    def __init__(self, config: GateConfig, limits: RobotLimits) -> None:
        """limits: the robot's own; `config.operating_fraction` of them is used."""
        self.config = config
        self.limits = limits
        self.period = config.period
        self._generator_limits = generator_limits(
            limits.arm.operating(config.operating_fraction), seconds(self.period)
        )
        self._curve_limits = _curve_limits(self._generator_limits)
        self._queue = InterventionQueue(config.interventions_max)
        self._active = False
        self._clear(Instant(0, 0))

    def _clear(self, now: Instant) -> None:
        """Everything that belongs to one activation."""
        config = self.config
        self._watch = ClockWatch(config.clock_jump)
        self._machine = ModeMachine(config.resume_delay)
        self._generator = MotionGenerator(
            self._generator_limits, self.limits.arm.envelopes, config.operating_fraction
        )
        self._generator.guard = self._space_guard(config.tool_speed)
        self._measurement = Measurement(config, self.limits)
        self._intake = ChunkIntake(config, self.limits, self._curve_limits)
        self._gripper: GripperCommand | None = None
        self._plans = PlanKeeper(config, now)
        self._heartbeats = Heartbeats(config, now)
        self._faults = HardFaults(config)
        self._fault: Cause | None = None
        self._prediction = PredictionGate(config)
        self._enable = EnableSwitch(config)
        self._slow = 1.0
        self._hold = False
        self._estop = False
        self._shutdown = False
        self._rebase: list[float] | None = None
        self._rebase_bound = config.tracking_error
        self._rest_since: int | None = now.ros
        self._stamp = now.ros
        self._last_tick: int | None = None
        self._sampled = 0
        self._step = Step.STOP
        self._deviation = -1.0
        self._limited = LimitedConditions(config, self._queue)
        self._sent = self._missed = self._accepted = self._rejected = 0
        self._recorded_before = self._queue.recorded

    def _space_guard(self, tool_speed: float) -> SpaceGuard | None:
        space = self.limits.workspace
        return None if space is None else SpaceGuard(space, tool_speed, self._generator_limits)

    # ---- life -----------------------------------------------------------------------------------

    def activate(self, joints: JointState, now: Instant) -> None:
        """Begin at the measured position, at rest, in HOLD.

        Raises GateRefusal, one line, where the arm moves, stands outside its limits, or isn't
        known well enough.
        """
        self._active = False
        self._clear(now)
        self._watch.jump(now)
        wrong = self._measurement.take(joints, now) or self._standing_fault(now)
        if wrong:
            raise GateRefusal(f"activation refused: {wrong}")
        if not self._generator.start(self._measurement.positions):
            raise GateRefusal("activation refused: the arm stands at its limits: move it inside")
        if self.limits.gripper is not None:
            width = joints.gripper
            if width is None or not np.isfinite(width):
                name = self.limits.gripper.name
                raise GateRefusal(f"activation refused: joint state: width of {name} is {width}")
            self._gripper = GripperCommand(self.limits.gripper, width, seconds(self.period))
        self._active = True

    @property
    def active(self) -> bool:
        """Whether ticks are expected."""
        return self._active

    @property
    def at_rest(self) -> bool:
        """Whether the commanded state is at rest."""
        return self._generator.at_rest

    @property
    def plan_id(self) -> tuple[str, int]:
        """Source and number of the chunk that is followed; ("", 0): none."""
        return self._plans.id

    @property
    def mode(self) -> Mode:
        """The mode in force since the last tick."""
        return self._machine.mode if self._active else Mode.INACTIVE

    def begin_shutdown(self, now: Instant) -> None:
        """Stop for good: HOLD that never ends. Tick on until `at_rest`, then deactivate."""
        self._observe(now)
        self._shutdown = True

    def deactivate(self) -> None:
        """No more ticks. Only `at_rest` does this leave the arm in a defined state."""
        self._active = False

    # ---- inputs ---------------------------------------------------------------------------------

    def on_joint_state(self, joints: JointState, now: Instant) -> str:
        """Take a measurement over; returns what is wrong with it (it is then ignored), or ""."""
        self._observe(now)
        return self._measurement.take(joints, now)

    def on_heartbeat(self, name: str, now: Instant) -> None:
        """An external party is alive; names that aren't required are ignored."""
        self._observe(now)
        self._heartbeats.beat(name, now)

    def on_prediction(
        self,
        probabilities: ArrayLike,
        types: Sequence[str],
        horizons: Sequence[float],
        alarm: bool,
        valid: bool,
        now: Instant,
    ) -> str:
        """Take a prediction over (see `prediction_gate`); what is wrong with it, or "".

        probabilities [horizons, types], 0 to 1; horizons [s], rising. A wrong one is ignored.
        """
        self._observe(now)
        return self._prediction.take(probabilities, types, horizons, alarm, valid)

    def on_enable(self, pressed: bool, now: Instant) -> None:
        """A message of the enable switch."""
        self._observe(now)
        self._enable.take(pressed, now)

    def new_episode(self, now: Instant) -> None:
        """An episode begins: restrictions and requests of the last one's prediction are over."""
        self._observe(now)
        self._prediction.new_episode()

    def on_chunk(self, chunk: ActionChunk, now: Instant) -> bool:
        """Check a chunk, to be followed from the next tick on; whether accepted. Never raises."""
        if not self._active:
            return False
        self._observe(now)
        try:
            rejection = self._take_chunk(chunk, now)
        except Exception as error:  # whatever is in a chunk, the gate goes on
            text = f"can't be read: {type(error).__name__}: {error}"
            rejection = Rejection("chunk_malformed", text, hard=True)
        if rejection is not None:
            number = chunk.number if isinstance(chunk.number, int) else 0
            self._refuse(str(chunk.source_id), number, rejection, now)
        return rejection is None

    def on_malformed_chunk(self, source_id: str, number: int, problem: str, now: Instant) -> None:
        """A message that isn't even a chunk; problem: one line. A hard fault."""
        if self._active:
            self._observe(now)
            self._refuse(source_id, number, Rejection("chunk_malformed", problem, hard=True), now)

    def _take_chunk(self, chunk: ActionChunk, now: Instant) -> Rejection | None:
        standing = self._machine.holding or self.at_rest
        commanded = self._generator.state[0]
        plan = self._intake.judge(chunk, now, standing, self._plans.clock, commanded)
        if isinstance(plan, Rejection):
            return plan
        self._accepted += 1
        self._plans.adopt(plan, self._machine.holding)
        return None

    def _refuse(self, source_id: str, number: int, rejection: Rejection, now: Instant) -> None:
        self._rejected += 1
        if rejection.hard:
            detail = f"{rejection.reason}: {rejection.message}"
            self._fault = Cause("chunk_fault", detail, rejection.value, rejection.bound)
            self._hard_fault(now)
        mode = self._machine.mode
        self._queue.record(
            now,
            mode,
            max(mode, Mode.HOLD) if rejection.hard else mode,
            Kind.EVENT,
            rejection.reason,
            f"chunk dropped: {rejection.message}",
            source_id=source_id,
            chunk_number=number,
            value=rejection.value,
            bound=rejection.bound,
        )

    def _hard_fault(self, now: Instant) -> None:
        """Count a hard fault; too many in a short time are a STOP."""
        too_many = self._faults.count(now)
        if too_many is not None:
            self._machine.latch(too_many)

    def reconfigure(
        self, changes: Mapping[str, Any], now: Instant, *, apply: bool = True
    ) -> tuple[bool, str]:
        """Change tunable parameters (see `reconfiguration`) while running; (done, why not).

        Refused, and then nothing is changed, out of a range, beyond the robot's own limits, and
        where the present state would be infeasible. apply False: only say whether it is possible.
        """
        try:
            config = changed(self.config, changes)
        except (LimitsError, TypeError) as error:
            return False, str(error)
        limits, stop = self._limits_for(config)
        if self._active:
            commanded = self._generator.state[0]
            problem = at_odds(config, self._measurement, commanded, now)
            if not problem and stop.from_state(self._generator.state)[0] is None:
                problem = "the arm couldn't stop inside these limits: hold it first"
            if problem:
                return False, f"refused: {problem}"
        if apply:
            self._use(config, limits, stop)
        return True, ""

    def _limits_for(self, config: GateConfig) -> tuple[GeneratorLimits, Stop]:
        arm = self.limits.arm
        fraction = config.operating_fraction
        limits = generator_limits(arm.operating(fraction), seconds(self.period))
        stop = Stop(limits, arm.envelopes, fraction)
        if self.limits.workspace is not None:
            stop.guard = SpaceGuard(self.limits.workspace, config.tool_speed, limits)
        return limits, stop

    def _use(self, config: GateConfig, limits: GeneratorLimits, stop: Stop) -> None:
        self.config, self._generator_limits = config, limits
        self._curve_limits = _curve_limits(limits)
        if self._active and not self._generator.use(limits, stop):
            raise RuntimeError("reconfigure: the state changed meanwhile")
        for part in (self._measurement, self._plans, self._prediction, self._enable, self._limited):
            part.retune(config)
        self._intake.retune(config, self._curve_limits)
        self._machine.retune(config.resume_delay)

    # ---- requests -------------------------------------------------------------------------------

    def request_hold(self, hold: bool, now: Instant) -> tuple[bool, str]:
        """Stop, resuming only after the request is taken back.

        Taking one back also ends what a failure prediction restricts.
        """
        self._observe(now)
        self._hold = hold
        if not hold:
            self._prediction.clear()
        return True, "holding" if hold else "hold taken back"

    def request_stop(self, now: Instant) -> tuple[bool, str]:
        """Stop until reset."""
        self._observe(now)
        self._machine.latch(Cause("stop_requested"))
        return True, "stopping; reset to go on"

    def request_estop(self, now: Instant, *, lasts: bool = False) -> tuple[bool, str]:
        """Emergency stop until reset; `lasts`: and reset is refused until `release_estop`."""
        self._observe(now)
        self._estop = self._estop or lasts
        self._machine.latch(Cause("estop_requested"))
        return True, "emergency stop; reset to go on"

    def release_estop(self, now: Instant) -> tuple[bool, str]:
        """A lasting emergency stop is let go; the mode stays until reset."""
        self._observe(now)
        self._estop = False
        return True, "emergency stop released; reset to go on"

    def internal_error(self, message: str, now: Instant) -> None:
        """The supervisor itself failed: ESTOP, not to be reset; the stop goes on."""
        self._machine.latch(Cause("internal_error", message))
        mode = self._machine.mode
        self._queue.record(now, mode, Mode.ESTOP, Kind.EVENT, "internal_error", message)

    def request_reset(self, now: Instant) -> tuple[bool, str]:
        """Leave STOP or ESTOP for HOLD, re-based on the measured position; (done, why not).

        The command moves to the measured position within the limits, in HOLD: a step there would
        break them.
        """
        self._observe(now)
        refusal = self._reset_refusal(now)
        if refusal:
            return False, f"reset refused: {refusal}"
        distance = self._measurement.distance(self._generator.state[0])
        self._rebase = list(self._measurement.positions)
        self._rebase_bound = max(self.config.tracking_error, distance + self.config.tracking_error)
        self._machine.reset()
        self._faults.clear()
        return True, f"reset; re-basing the command by {distance:.3g} rad on the measured position"

    def _reset_refusal(self, now: Instant) -> str:
        if not self._active:
            return "not active"
        if not self._machine.latched:
            return f"nothing is latched in {self._machine.mode.name}"
        if any(cause.name == "internal_error" for cause in self._machine.latched):
            return "the supervisor itself failed: deactivate and configure it anew"
        if self._estop:
            return "the emergency stop is still pressed: release it"
        if not self.at_rest:
            return "the arm is still stopping: wait"
        return self._prediction.stops or self._standing_fault(now)

    def _standing_fault(self, now: Instant) -> str:
        """Why the arm can't be taken over where it is, in one line; empty: it can."""
        age = self._measurement.age(now)
        if age > self.config.joint_state_age_hold:
            return f"joint state is {age:.3g} s old: check the robot's driver"
        return self._measurement.moving() or self._measurement.outside()

    # ---- tick -----------------------------------------------------------------------------------

    def tick(self, now: Instant) -> TickResult:
        """The next command, exactly one period after the last on the trajectory clock.

        Never raises while active: on an exception of its own the gate goes into ESTOP and the stop
        goes on. Raises GateRefusal where the gate isn't active.
        """
        if not self._active:
            raise GateRefusal("not active: activate the gate first")
        self._sampled = self._generator.samples
        late = self._count_late(now)
        try:
            self._observe(now)
            self._decide(now)
            self._move(now)
            self._judge(now)
        except Exception as error:  # a fault of our own must not end the stop
            self.internal_error(f"{type(error).__name__}: {error}", now)
            self._machine.update((), now, can_resume=False)
            self._advance_stop()
        self._stamp += self.period
        self._sent += 1
        return TickResult(
            command=self._command(),
            mode=self._machine.mode,
            reasons=tuple(cause.name for cause in self._machine.causes),
            step=self._step,
            late=late,
            lag=self._plans.clock.lag(now) + self.period,
            requests=self._prediction.requests,
        )

    def _observe(self, now: Instant) -> None:
        """Follow a jump of the ROS clock with all that is remembered in it."""
        step = self._watch.jump(now)
        if step == 0:
            return
        self._plans.shift(step)
        self._measurement.shift(step)
        self._intake.order.shift(step)
        if self._rest_since is not None:
            self._rest_since += step
        mode = self._machine.mode
        text = f"the ROS clock jumped by {seconds(step):.3g} s"
        self._queue.record(now, mode, mode, Kind.EVENT, "clock_jump", text, value=seconds(step))

    def _count_late(self, now: Instant) -> bool:
        last, self._last_tick = self._last_tick, now.steady
        late = last is not None and now.steady - last > LATE_PERIODS * self.period
        self._missed += late
        return late

    def _decide(self, now: Instant) -> None:
        """The mode of this tick, from all causes."""
        before = self._machine.mode
        mode = self._machine.update(self._causes(now), now, self._can_resume(now))
        self._fault = None
        if mode >= Mode.STOP:
            self._rebase = None
        if mode != before and max(mode, before) >= Mode.SLOW:
            record_mode(self._queue, before, mode, self._machine.causes, self._plans.id, now)

    def _causes(self, now: Instant) -> list[Cause]:
        bound = self.config.tracking_error if self._rebase is None else self._rebase_bound
        causes = self._measurement.causes(now, self._generator.state[0], bound)
        if self._machine.holding and self.at_rest:
            self._plans.clock.anchor(now, self._slow)
        causes.extend(self._plans.causes(now, self._machine.holding))
        causes.extend(self._heartbeats.causes(now))
        causes.extend(self._prediction.causes(now))
        causes.extend(self._enable.causes(now))
        if self._fault is not None:
            causes.append(self._fault)
        if self._estop:
            causes.append(Cause("estop_requested"))
        if self._hold:
            causes.append(Cause("hold_requested"))
        if self._shutdown:
            causes.append(Cause("shutdown"))
        if self._rebase is not None:
            causes.append(Cause("rebasing"))
        causes.extend(self._limited.causes())
        return causes

    def _can_resume(self, now: Instant) -> bool:
        """Whether the arm stands and there is a due plan, observed since."""
        if self._rest_since is None or not self.at_rest:
            return False
        return self._plans.can_resume(now, self._rest_since)

    def _move(self, now: Instant) -> None:
        """One sample of motion."""
        self._ramp_slow()
        plan = self._plans.plan
        if self._machine.holding or plan is None:
            self._hold_still(now)
            return
        self._rest_since = None
        last, following = self._plans.clock.advance(now, self._stretch(plan))
        rate = self._plans.clock.rate
        time = plan.since_start(last)
        curve = plan.reference
        self._step = self._generator.track(
            scaled(curve.at(time), rate),
            scaled(curve.at(plan.since_start(following)), rate),
            curve.peaks(time),
            curve.at(time + AIM_AHEAD),
        )
        if self._step is Step.STOP:
            self._fault = Cause("no_safe_step", f"chunk {plan.number} of {plan.source_id}")
            self._plans.drop()
            self._hard_fault(now)

    def _ramp_slow(self) -> None:
        """Lower and raise the velocity limits of SLOW little by little."""
        wanted = self.config.slow_factor if self._prediction.slow else 1.0
        most = PlanClock.STRETCH_RAMP * seconds(self.period)
        self._slow += min(max(wanted - self._slow, -most), most)
        self._generator.speed_share = self._slow

    def _stretch(self, plan: Plan) -> float:
        """How fast the plan's clock may run: SLOW, and for the tool not to become too fast."""
        speed = plan.tool_speed(plan.since_start(self._plans.clock.time))
        allowed = TOOL_SPEED_SHARE * self.config.tool_speed
        return min(self._slow, allowed / speed if speed > allowed else 1.0)

    def _hold_still(self, now: Instant) -> None:
        """Stop, stand, or move to where a reset re-bases the command."""
        fresh = self._measurement.age(now) <= self.config.joint_state_age_hold
        if self._rebase is not None and self._machine.mode is Mode.HOLD and fresh:
            self._step = self._generator.approach(self._rebase)
            if self.at_rest and jump(self._rebase, self._generator.state[0])[0] <= REBASED:
                self._rebase = None
        else:
            self._advance_stop()
        if not self.at_rest or self._rebase is not None:
            self._rest_since = None
        elif self._rest_since is None:
            self._rest_since = now.ros

    def _advance_stop(self) -> None:
        """One sample along the certified stop, unless this tick has its sample already."""
        if self._generator.samples == self._sampled:
            self._step = self._generator.stop()

    def _judge(self, now: Instant) -> None:
        """How far the command is from the plan, and the gripper's share of the tick."""
        plan = self._plans.plan
        if plan is None or self._machine.holding:
            self._deviation = -1.0
            self._limited.end(self._machine.mode, self._plans.id, now)
            return
        time = self._plans.clock.time
        wanted = plan.raw.position(plan.since_start(time))
        self._deviation, _ = jump(wanted, self._generator.state[0])
        width = plan.width(time)
        lag = 0.0
        if self._gripper is not None and width is not None:
            lag = self._gripper.follow(width)
        values = {
            "plan_deviation": self._deviation,
            "plan_exceeds_limits": plan.excess,
            "tool_speed": plan.tool_speed(plan.since_start(time)) / self.config.tool_speed,
            "gripper_rate": lag,
        }
        self._limited.judge(values, self._machine.mode, self._plans.id, now)

    def _command(self) -> JointCommand:
        q, v, a = self._generator.state
        return JointCommand(
            stamp=self._stamp,
            positions=np.array(q),
            velocities=np.array(v),
            accelerations=np.array(a),
            gripper=None if self._gripper is None else self._gripper.width,
        )

    # ---- reports --------------------------------------------------------------------------------

    def drain_interventions(self) -> list[Intervention]:
        """All interventions since the last call, oldest first."""
        return self._queue.drain()

    def state(self, now: Instant) -> GateState:
        """Snapshot for publishing."""
        plan = self._plans.plan
        mode = self.mode
        causes = self._machine.causes if self._active else ()
        text = causes[0].text if causes else MODE_TEXTS[mode]
        return GateState(
            mode=mode,
            reasons=tuple(cause.name for cause in causes),
            text=f"{mode.name}: {text}",
            at_rest=self.at_rest,
            source_id="" if plan is None else plan.source_id,
            chunk_number=0 if plan is None else plan.number,
            plan_step=-1 if plan is None else plan.row(self._plans.clock.time),
            observation_age=-1.0 if plan is None else plan.observation.seconds(now),
            plan_deviation=self._deviation,
            tracking_error=self._measurement.distance(self._generator.state[0]),
            commands_sent=self._sent,
            missed_deadlines=self._missed,
            chunks_accepted=self._accepted,
            chunks_rejected=self._rejected,
            interventions=self._queue.recorded - self._recorded_before,
            requests=self._prediction.requests,
        )


def _curve_limits(limits: GeneratorLimits) -> CurveLimits:
    """What a plan's curve may use of the generator's limits."""
    return CurveLimits(
        CURVE_SHARE * np.asarray(limits.velocity),
        CURVE_SHARE * np.asarray(limits.acceleration),
        CURVE_SHARE * np.asarray(limits.jerk),
    )
