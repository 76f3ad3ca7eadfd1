"""The safety gate: chunks and measurements in, one safe command a tick out.

A library without threads, clocks or ROS: every call says what time it is. Calls must not overlap.
Whatever comes in, the commands stay inside the operating limits of position, velocity, acceleration
and jerk, by divided differences over the ticks and on each adapter's curve between them, and can
always still be stopped inside them. It is not a certified safety function.

Its parts are made in `activation`: chunks come in through `chunk_reception`; at each tick `modes`
puts the gravest cause in force, `follower` moves the arm, `plan_judge` watches how well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from salus_ros.interfaces import ActionChunk, Instant, JointState, seconds
from salus_ros.supervision.activation import Activation
from salus_ros.supervision.chunk_checks import Rejection
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.detector_guard import Detectors
from salus_ros.supervision.errors import GateRefusal, LimitsError
from salus_ros.supervision.gate_report import gate_state, record_new_episode
from salus_ros.supervision.gate_state import GateState, TickResult
from salus_ros.supervision.gate_tick import GateTicks
from salus_ros.supervision.gripper import GripperCommand
from salus_ros.supervision.interventions import Intervention, InterventionQueue
from salus_ros.supervision.limits import RobotLimits
from salus_ros.supervision.modes import Mode
from salus_ros.supervision.motion_setup import MotionSetup, motion_setup
from salus_ros.supervision.reconfiguration import at_odds, changed
from salus_ros.supervision.robot_guard import RobotReport

__all__ = ["GateState", "SafetyGate", "TickResult"]


class SafetyGate:
    """See the module. Life: activate, then one tick a period; to end, begin_shutdown and tick on
    until `at_rest`, then deactivate.
    """

    def __init__(
        self, config: GateConfig, limits: RobotLimits, detectors: Detectors | None = None
    ) -> None:
        """limits: the robot's own; `config.operating_fraction` of them is used.

        detectors: check 8; None: steps of the plan aren't scored.
        """
        self.config = config
        self.limits = limits
        self._detectors = detectors
        self.period = config.period
        self._setup = motion_setup(config, limits)
        self._queue = InterventionQueue(config.interventions_max)
        self._active = False
        self._clear(Instant(0, 0))

    def _clear(self, now: Instant) -> None:
        """Everything that belongs to one activation."""
        self._parts = Activation(
            self.config, self.limits, self._setup, self._queue, now, self._detectors
        )
        self._ticks = GateTicks(self._parts, self._queue, now)
        self._recorded_before = self._queue.recorded

    # ---- life -----------------------------------------------------------------------------------

    def activate(self, joints: JointState, now: Instant, robot: RobotReport | None = None) -> None:
        """Begin at the measured position, at rest, in HOLD.

        robot: its last report, where one is required; not older than `robot_age`. Raises
        GateRefusal, one line, where the arm moves, stands outside its limits, isn't known well
        enough, or doesn't follow commands.
        """
        self._active = False
        self._clear(now)
        self._parts.watch.jump(now)
        if robot is not None:
            self._parts.robot.take(robot, now)
        wrong = self._parts.measurement.take(joints, now) or self._parts.standing_fault(now)
        if wrong:
            raise GateRefusal(f"activation refused: {wrong}")
        if not self._parts.generator.start(self._parts.measurement.positions):
            raise GateRefusal("activation refused: the arm stands at its limits: move it inside")
        self._take_gripper(joints)
        self._active = True

    def _take_gripper(self, joints: JointState) -> None:
        limits, width = self.limits.gripper, joints.gripper
        if limits is None:
            return
        if width is None or not np.isfinite(width):
            raise GateRefusal(f"activation refused: joint state: width of {limits.name} is {width}")
        self._parts.judge.gripper = GripperCommand(limits, width, seconds(self.period))

    @property
    def active(self) -> bool:
        """Whether ticks are expected."""
        return self._active

    @property
    def at_rest(self) -> bool:
        """Whether the commanded state is at rest."""
        return self._parts.generator.at_rest

    @property
    def plan_id(self) -> tuple[str, int]:
        """Source and number of the chunk that is followed; ("", 0): none."""
        return self._parts.plans.id

    @property
    def mode(self) -> Mode:
        """The mode in force since the last tick."""
        return self._parts.machine.mode if self._active else Mode.INACTIVE

    def begin_shutdown(self, now: Instant) -> None:
        """Stop for good: HOLD that never ends. Tick on until `at_rest`, then deactivate."""
        self._parts.observe(now)
        self._parts.operators.shut_down()

    def deactivate(self) -> None:
        """No more ticks. Only `at_rest` does this leave the arm in a defined state."""
        self._active = False

    # ---- inputs ---------------------------------------------------------------------------------

    def on_joint_state(self, joints: JointState, now: Instant) -> str:
        """Take a measurement over; returns what is wrong with it (it is then ignored), or ""."""
        self._parts.observe(now)
        return self._parts.measurement.take(joints, now)

    def on_heartbeat(self, name: str, now: Instant) -> None:
        """An external party is alive; names that aren't required are ignored."""
        self._parts.observe(now)
        self._parts.heartbeats.beat(name, now)

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
        self._parts.observe(now)
        return self._parts.prediction.take(probabilities, types, horizons, alarm, valid)

    def on_enable(self, pressed: bool, now: Instant) -> None:
        """A message of the enable switch."""
        self._parts.observe(now)
        self._parts.enable.take(pressed, now)

    def on_robot(self, report: RobotReport, now: Instant) -> None:
        """The robot says whether it follows commands."""
        self._parts.observe(now)
        self._parts.robot.take(report, now)

    def new_episode(self, now: Instant) -> None:
        """An episode begins: restrictions and requests of the last one's prediction are over.

        Recorded, for it loosens what is in force; and who makes the signals hears of it thereby.
        """
        self._parts.observe(now)
        self._parts.prediction.new_episode()
        record_new_episode(self._parts, self._queue, now)

    def on_chunk(self, chunk: ActionChunk, now: Instant, *, in_slices: bool = False) -> bool:
        """Check a chunk, to be followed from the next tick on; whether accepted. Never raises.

        in_slices: only what must come first is checked now; call `check_slice` until it returns
        False. A tick without such a call since the one before does a slice itself.
        """
        if not self._active:
            return False
        self._parts.observe(now)
        self._ticks.sliced = True
        return self._parts.reception.take(chunk, now, in_slices)

    def check_slice(self, now: Instant) -> bool:
        """One slice of the check of the newest accepted chunk; whether more are left.

        A fault that is found then is one, too: the chunk is dropped, its plan is followed no more.
        """
        self._ticks.sliced = True
        return self._active and self._parts.reception.advance(now)

    def on_malformed_chunk(self, source_id: str, number: int, problem: str, now: Instant) -> None:
        """A message that isn't even a chunk; problem: one line. A hard fault."""
        if self._active:
            self._parts.observe(now)
            rejection = Rejection("chunk_malformed", problem, hard=True)
            self._parts.reception.refuse(source_id, number, rejection, now)

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
        setup = motion_setup(config, self.limits)
        if self._active:
            commanded = self._parts.generator.state[0]
            problem = at_odds(config, self._parts.measurement, commanded, now)
            if not problem and setup.stop.from_state(self._parts.generator.state)[0] is None:
                problem = "the arm couldn't stop inside these limits: hold it first"
            if problem:
                return False, f"refused: {problem}"
        if apply:
            self._use(config, setup)
        return True, ""

    def _use(self, config: GateConfig, setup: MotionSetup) -> None:
        self.config, self._setup = config, setup
        if self._active and not self._parts.generator.use(setup.generator, setup.stop):
            raise RuntimeError("reconfigure: the state changed meanwhile")
        self._parts.retune(config, setup)

    # ---- requests -------------------------------------------------------------------------------

    def request_hold(self, hold: bool, now: Instant) -> tuple[bool, str]:
        """Stop, resuming only after the request is taken back.

        Taking one back also ends what a failure prediction restricts.
        """
        self._parts.observe(now)
        self._parts.operators.hold(hold)
        if not hold:
            self._parts.prediction.clear()
        return True, "holding" if hold else "hold taken back"

    def request_stop(self, now: Instant) -> tuple[bool, str]:
        """Stop until reset."""
        self._parts.observe(now)
        self._parts.operators.stop()
        return True, "stopping; reset to go on"

    def request_estop(self, now: Instant, *, lasts: bool = False) -> tuple[bool, str]:
        """Emergency stop until reset; `lasts`: and reset is refused until `release_estop`."""
        self._parts.observe(now)
        self._parts.operators.estop(lasts)
        return True, "emergency stop; reset to go on"

    def release_estop(self, now: Instant) -> tuple[bool, str]:
        """A lasting emergency stop is let go; the mode stays until reset."""
        self._parts.observe(now)
        self._parts.operators.release_estop()
        return True, "emergency stop released; reset to go on"

    def internal_error(self, message: str, now: Instant) -> None:
        """The supervisor itself failed: ESTOP, not to be reset; the stop goes on."""
        self._ticks.fail(message, now)

    def request_reset(self, now: Instant) -> tuple[bool, str]:
        """Leave STOP or ESTOP for HOLD, re-based on the measured position; (done, why not).

        The command moves to the measured position within the limits, in HOLD: a step there would
        break them.
        """
        self._parts.observe(now)
        refusal = self._parts.reset_refusal(now) if self._active else "not active"
        if refusal:
            return False, f"reset refused: {refusal}"
        distance = self._parts.reset()
        return True, f"reset; re-basing the command by {distance:.3g} rad on the measured position"

    # ---- tick -----------------------------------------------------------------------------------

    def tick(self, now: Instant) -> TickResult:
        """The next command, exactly one period after the last on the trajectory clock.

        Never raises while active: on an exception of its own the gate goes into ESTOP and the stop
        goes on. Raises GateRefusal where the gate isn't active.
        """
        if not self._active:
            raise GateRefusal("not active: activate the gate first")
        return self._ticks.tick(now)

    def prepare(self) -> bool:
        """Some work ahead for the next tick, should all stay as it is; whether more is left.

        Whatever it depends on that has changed by then is worked out anew: a tick's result is the
        same to the bit without. For between two ticks, and once more after a new chunk.
        """
        return self._active and self._ticks.prepare()

    # ---- reports --------------------------------------------------------------------------------

    @property
    def detector_scores(self) -> Mapping[str, float]:
        """Newest score of each detector over its threshold; empty without detectors."""
        detectors = self._parts.detectors
        return {} if detectors is None else detectors.scores

    @property
    def interventions_waiting(self) -> bool:
        """Whether there is any to be drained."""
        return self._queue.waiting

    def drain_interventions(self) -> list[Intervention]:
        """All interventions since the last call, oldest first."""
        return self._queue.drain()

    def state(self, now: Instant) -> GateState:
        """Snapshot for publishing."""
        interventions = self._queue.recorded - self._recorded_before
        return gate_state(self._parts, self.mode, self._ticks.clock, interventions, now)
