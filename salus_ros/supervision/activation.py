"""Everything that belongs to one activation of the gate, and what all of it is asked together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from salus_ros.interfaces import Instant, seconds
from salus_ros.supervision.chunk_reception import ChunkReception
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.detector_guard import DetectorGuard, Detectors
from salus_ros.supervision.follower import Follower
from salus_ros.supervision.freshness import ClockWatch
from salus_ros.supervision.intake import ChunkIntake
from salus_ros.supervision.interventions import InterventionQueue, Kind
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.measurement import Measurement
from salus_ros.supervision.modes import Cause, ModeMachine
from salus_ros.supervision.motion_setup import MotionSetup, make_generator
from salus_ros.supervision.operators import Operators
from salus_ros.supervision.parties import HardFaults, Heartbeats
from salus_ros.supervision.plan_judge import PlanJudge
from salus_ros.supervision.plan_keeper import PlanKeeper
from salus_ros.supervision.prediction_gate import EnableSwitch, PredictionGate
from salus_ros.supervision.robot_guard import RobotGuard

# A HOLD that could end waits so much longer for a plan that begins where the arm is [s].
RESUME_GRACE: Final = 0.18


class CauseSource(Protocol):
    """Something that may restrict the arm; asked once a tick."""

    def causes(self, now: Instant) -> Iterable[Cause]:
        """What is in force at this tick."""


class Activation:
    """The gate's parts, made anew at each activation."""

    def __init__(
        self,
        config: GateConfig,
        limits: RobotLimits,
        setup: MotionSetup,
        queue: InterventionQueue,
        now: Instant,
        detectors: Detectors | None = None,
    ) -> None:
        self.config = config
        self._queue = queue
        self.watch = ClockWatch(config.clock_jump)
        self.machine = ModeMachine(config.resume_delay)
        self.generator = make_generator(config, limits, setup)
        self.measurement = Measurement(config, limits)
        self.plans = PlanKeeper(config, now)
        self.heartbeats = Heartbeats(config, now)
        self.faults = HardFaults(config, self.machine.latch)
        self.intake = ChunkIntake(config, limits, setup.curve)
        self.judge = PlanJudge(config, queue)
        self.detectors = None
        if detectors is not None:
            self.detectors = DetectorGuard(
                config, detectors, self.machine, self.plans, self.measurement, self.judge
            )
        self.reception = ChunkReception(
            self.intake,
            self.plans,
            self.generator,
            self.machine,
            self.faults,
            queue,
            self.detectors,
        )
        self.prediction = PredictionGate(config)
        self.enable = EnableSwitch(config)
        self.robot = RobotGuard(config)
        self.operators = Operators(self.machine)
        self.follower = Follower(config, self.generator, self.plans, now)
        # Whatever else may restrict the arm is one more source here.
        self.sources: tuple[CauseSource, ...] = (
            self.heartbeats,
            self.prediction,
            self.enable,
            self.robot,
            self.faults,
            self.operators,
            self.follower,
            self.judge,
            *([self.detectors] if self.detectors else []),
        )

    def retune(self, config: GateConfig, setup: MotionSetup) -> None:
        """Use other parameters from now on."""
        self.config = config
        for part in (
            self.measurement,
            self.plans,
            self.prediction,
            self.enable,
            self.robot,
            self.follower,
            self.judge,
        ):
            part.retune(config)
        if self.detectors is not None:
            self.detectors.retune(config)
        self.intake.retune(config, setup.curve)
        self.machine.retune(config.resume_delay)

    def observe(self, now: Instant) -> None:
        """Follow a jump of the ROS clock with all that is remembered in it."""
        step = self.watch.jump(now)
        if step == 0:
            return
        for part in (self.plans, self.measurement, self.intake.order, self.follower):
            part.shift(step)
        if self.detectors is not None:
            self.detectors.shift(step)
        mode = self.machine.mode
        text = f"the ROS clock jumped by {seconds(step):.3g} s"
        self._queue.record(now, mode, mode, Kind.EVENT, "clock_jump", text, value=seconds(step))

    def causes(self, now: Instant) -> list[Cause]:
        """All that is in force at this tick."""
        holding, commanded = self.machine.holding, self.generator.state[0]
        causes = self.measurement.causes(now, commanded, self.follower.error_bound)
        self.follower.anchor(now, holding)
        causes.extend(self.plans.causes(now, holding))
        for source in self.sources:
            causes.extend(source.causes(now))
        return causes

    def can_resume(self, now: Instant) -> bool:
        """Whether the arm stands and there is a due plan, observed since, that begins where it is.

        While the arm is held, a plan moves on without it, until the policy sees that and begins
        anew. Resumed in between, the command would have to catch up. A plan that doesn't come near
        in RESUME_GRACE is taken up all the same.
        """
        rest_since, commanded = self.follower.rest_since, self.generator.state[0]
        if rest_since is None or not self.generator.at_rest:
            return False
        if not self.plans.can_resume(now, rest_since):
            return False
        patience = self.config.resume_delay + RESUME_GRACE
        near = self.plans.distance(commanded, now) <= self.config.deviation_bound
        return near or self.machine.clear_seconds(now) >= patience

    def standing_fault(self, now: Instant) -> str:
        """Why the arm can't be taken over where it is, in one line; empty: it can."""
        if self.robot.problem(now):
            return self._robot_refusal(now)
        age = self.measurement.age(now)
        if age > self.config.joint_state_age_hold:
            return f"joint state is {age:.3g} s old: check the robot's driver"
        return self.measurement.moving() or self.measurement.outside()

    def follow_measured_arm(self, now: Instant) -> None:
        """In STOP: where the robot doesn't follow the command, let the command follow the arm."""
        fresh = self.measurement.age(now) <= self.config.joint_state_age_hold
        if fresh and self.robot.released(now):
            distance = self.measurement.distance(self.generator.state[0])
            self.follower.rebase(self.measurement.positions, distance, in_stop=True)
        else:
            self.follower.end_rebasing()

    def reset_refusal(self, now: Instant) -> str:
        """Why a latched mode can't be left, in one line; empty: it can."""
        latched = self.machine.latched
        if not latched:
            return f"nothing is latched in {self.machine.mode.name}"
        if any(cause.name == "internal_error" for cause in latched):
            return "the supervisor itself failed: deactivate and configure it anew"
        if self.operators.estop_pressed:
            return "the emergency stop is still pressed: release it"
        if self.robot.problem(now):
            return self._robot_refusal(now)
        if not self.generator.at_rest:
            return "the arm is still stopping: wait"
        return self.prediction.stops or self.standing_fault(now)

    def _robot_refusal(self, now: Instant) -> str:
        return f"the robot doesn't follow commands: {self.robot.problem(now)}: see to it first"

    def reset(self) -> float:
        """Leave the latched modes, re-basing the command on the measured position [rad away]."""
        distance = self.measurement.distance(self.generator.state[0])
        self.follower.rebase(self.measurement.positions, distance)
        self.machine.reset()
        self.faults.clear()
        return distance
