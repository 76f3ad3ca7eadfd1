"""A tick of the gate: what is in force, one sample of motion, how well it follows."""

from __future__ import annotations

import numpy as np

from salus_ros.interfaces import Instant, JointCommand
from salus_ros.supervision.activation import Activation
from salus_ros.supervision.command_clock import CommandClock
from salus_ros.supervision.gate_report import record_request
from salus_ros.supervision.gate_state import TickResult
from salus_ros.supervision.interventions import InterventionQueue, Kind
from salus_ros.supervision.limited import record_mode
from salus_ros.supervision.modes import Cause, Mode


class GateTicks:
    """The ticks of one activation.

    ticked: when the last one was. sliced: whether a slice of a chunk's check was done since.
    """

    def __init__(self, parts: Activation, queue: InterventionQueue, now: Instant) -> None:
        self.sliced = False
        self.clock = CommandClock(parts.config.period, now)
        self._period: int = parts.config.period
        self._parts, self._queue = parts, queue
        self.ticked = now

    def tick(self, now: Instant) -> TickResult:
        """The next command. Never raises: see `SafetyGate.tick`."""
        parts = self._parts
        self.ticked = now
        parts.follower.begin_tick()
        late = self.clock.begin_tick(now)
        try:
            parts.observe(now)
            self._decide(now)
            self._move(now)
            parts.judge.judge(parts.plans, parts.generator.state[0], parts.machine.mode, now)
            if not self.sliced:
                parts.reception.advance(now)
        except Exception as error:  # a fault of our own must not end the stop
            self.fail(f"{type(error).__name__}: {error}", now)
            parts.machine.update((), now, can_resume=False)
            parts.follower.advance_stop()
        self.sliced = False
        machine = parts.machine
        return TickResult(
            self._command(self.clock.end_tick()),
            machine.mode,
            tuple([cause.name for cause in machine.causes]),
            parts.follower.step,
            late,
            parts.plans.clock.lag(now) + self._period,
            parts.prediction.requests,
        )

    def fail(self, message: str, now: Instant) -> None:
        """The supervisor itself failed: ESTOP, not to be reset; the stop goes on."""
        machine = self._parts.machine
        machine.latch(Cause("internal_error", message))
        self._queue.record(now, machine.mode, Mode.ESTOP, Kind.EVENT, "internal_error", message)

    def prepare(self) -> bool:
        """Some work ahead for the next tick; whether more is left: see `SafetyGate.prepare`."""
        parts = self._parts
        now = Instant(self.ticked.ros + self._period, self.ticked.steady + self._period)
        if parts.follower.prepare(now, parts.machine.mode, parts.prediction.slow):
            return parts.detectors is not None and not parts.detectors.prepared
        if parts.detectors is not None:
            parts.detectors.prepare()
        return False

    def _decide(self, now: Instant) -> None:
        """The mode of this tick, from all causes."""
        parts, machine = self._parts, self._parts.machine
        before = machine.mode
        mode = machine.update(parts.causes(now), now, parts.can_resume(now))
        if mode >= Mode.STOP:
            parts.follow_measured_arm(now)
        if mode != before and max(mode, before) >= Mode.SLOW:
            record_mode(self._queue, before, mode, machine.causes, parts.plans.id, now)
        record_request(parts, self._queue, now)

    def _move(self, now: Instant) -> None:
        """One sample of motion."""
        parts = self._parts
        fresh = parts.measurement.age(now) <= parts.config.joint_state_age_hold
        fault = parts.follower.move(now, parts.machine.mode, parts.prediction.slow, fresh)
        if fault is not None:
            parts.faults.add(fault, now)

    def _command(self, stamp: int) -> JointCommand:
        q, v, a = self._parts.generator.state
        gripper = self._parts.judge.gripper
        positions, velocities, accelerations = np.array([*q, *v, *a]).reshape(3, -1)
        width = None if gripper is None else gripper.width
        return JointCommand(stamp, positions, velocities, accelerations, width)
