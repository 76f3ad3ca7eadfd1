"""The supervisor node: the only publisher of /joint_commands.

One thread: the tick and short callbacks. Everything is decided by SafetyGate; this file moves
messages in and out and keeps the process's timing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.guard_condition import GuardCondition
from rclpy.parameter import Parameter as RosParameter
from salus_msgs.msg import FailurePrediction as FailurePredictionMessage
from salus_msgs.msg import RobotMode as RobotModeMessage
from std_msgs.msg import Header

from salus_ros.diagnosis import Diagnosis
from salus_ros.interfaces import ActionChunk, Instant, JointState, nanoseconds, seconds
from salus_ros.nodes import qos, realtime, topics
from salus_ros.nodes.command_output import CommandOutput
from salus_ros.nodes.detector_parameters import CALIBRATION, load_detectors
from salus_ros.nodes.gate_parameters import gate_config
from salus_ros.nodes.gate_reports import GateReports
from salus_ros.nodes.joint_input import subscribe_to_joints
from salus_ros.nodes.journal_parameters import open_journal
from salus_ros.nodes.managed_node import ConfigurationError, ManagedNode
from salus_ros.nodes.operator_requests import OperatorRequests
from salus_ros.nodes.plan_input import PlanInput
from salus_ros.nodes.rival_publishers import rival_publishers
from salus_ros.nodes.robot_description import configured_limits
from salus_ros.nodes.robot_modes import robot_report
from salus_ros.nodes.run import run
from salus_ros.nodes.supervisor_parameters import PARAMETERS
from salus_ros.supervision.errors import GateRefusal
from salus_ros.supervision.gate_trace import TracedGate
from salus_ros.supervision.modes import Mode
from salus_ros.supervision.reconfiguration import TUNABLE
from salus_ros.supervision.reference import warm_up
from salus_ros.supervision.robot_guard import RobotReport

STATE_PERIOD = 0.1  # s between two SupervisorStates while nothing changes
RIVAL_PERIOD = 1.0  # s between two looks for another publisher of commands
COLLECT_TICKS = 50  # the youngest garbage is collected after so many ticks at the latest
LONGEST_STOP = 5.0  # s; a jerk-limited stop takes a fraction of it
SLICE_TIME = 1e-4  # s; a chunk's check hands over to the tick after so long
LONGEST_SLICE = 3e-4  # s; what a slice may take once begun
LOST_COMMAND = 0.1  # s; lifespan of a command on its way
UNGUARDED = (
    "the workspace is not guarded: nothing keeps the arm off its surroundings or its tool slow; "
    "give a file as parameter `workspace`"
)
PREDICTION = "failure_predictor"
MANAGER = "lifecycle_manager"


class SafetySupervisor(ManagedNode):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("safety_supervisor", PARAMETERS)
        self._last_joints: tuple[JointState, Instant] | None = None
        self._last_robot: tuple[RobotReport, Instant] | None = None
        self._born = time.monotonic()
        self._warned = False
        self.add_post_set_parameters_callback(self._apply_parameters)

    # Transitions.

    def configure(self) -> None:
        """Load the limits, make the gate, listen to joint states and operators."""
        self._names = tuple(self.parameter("joint_names"))
        self._gripper = self.parameter("gripper_name")
        limits = configured_limits(self)
        if limits.workspace is None and not self._warned:
            self._warned = True
            self.get_logger().warning(UNGUARDED)
        self._output = CommandOutput(self, self._names, self._gripper)
        columns = (*self._names, *([self._gripper] if self._gripper else []))
        config = gate_config(self, self._required_heartbeats())
        detectors = load_detectors(self, columns)
        self._gate = TracedGate(config, limits, detectors, self.parameter(CALIBRATION.name))
        journal = open_journal(self)
        self.finally_do(journal.close)
        self._reports = GateReports(self, self._gate, journal)
        self._last_joints = None
        self._last_robot = None
        self._realtime = False
        self._state_key: object = None
        self._published_key: object = None
        self._plans = PlanInput(self, limits, self._take_chunk, self._refuse_message)
        self._listen()
        self._keep_memory_and_garbage_quiet()
        # Another publisher of commands can only be refused once discovery has found it.
        time.sleep(max(0.0, self._born + self.parameter("discovery_time") - time.monotonic()))
        # rclpy's first log call in a process takes 15 ms to find its own source: not in a tick.
        self.get_logger().info(
            f"gate of {len(self._names)} joints at {self.parameter('rate'):g} Hz, "
            f"{100 * self.parameter('operating_fraction'):g} % of the robot's limits, "
            f"journal in {journal.folder}"
        )

    def _keep_memory_and_garbage_quiet(self) -> None:
        warm_up()
        if self.parameter("realtime_priority"):
            problem = realtime.lock_memory()
            if problem:
                self.get_logger().warning(problem)
        realtime.quiet_garbage_collector()
        self.finally_do(realtime.wake_garbage_collector)

    def _required_heartbeats(self) -> dict[str, float]:
        required = {}
        if self.parameter("require_prediction"):
            required[PREDICTION] = self.parameter("prediction_age")
        if self.parameter("require_manager"):
            required[MANAGER] = self.parameter("manager_age")
        return required

    def _listen(self) -> None:
        self._plans.listen()
        subscribe_to_joints(self, self._names, self._gripper, self._take_joints)
        self._to_prepare = self._on_demand(self._prepare)
        self._more_to_check = self._on_demand(self._check_slices)
        self._chores_due = self._on_demand(self._chores)
        self.subscribe(Header, topics.HEARTBEAT, self._on_heartbeat, qos.HEARTBEAT)
        self.subscribe(
            FailurePredictionMessage, topics.FAILURE_PREDICTION, self._on_prediction, qos.SIGNALS
        )
        if self.parameter("require_robot"):
            self.subscribe(RobotModeMessage, topics.ROBOT_MODE, self._on_robot, qos.STATE)
        OperatorRequests(self, self._gate, self._instant).listen()

    def _on_demand(self, callback: Callable[[], None]) -> GuardCondition:
        """Something whose `trigger` has a callback of its own made, after the timer's."""
        condition = self.create_guard_condition(self.guarded(callback))
        self.finally_do(self.destroy_guard_condition, condition)
        return condition

    def activate(self) -> None:
        """Take the arm over where it stands, then tick."""
        rivals = rival_publishers(self, self._output.topics)
        if rivals:
            raise ConfigurationError(f"{rivals}: end it first")
        if self._last_joints is None:
            raise ConfigurationError(f"no usable joint state on {topics.JOINT_STATES}")
        period = self._gate.period
        self._output.open(period, qos.command(period, nanoseconds(LOST_COMMAND)))
        self._use_realtime()
        self._take_over(*self._last_joints)
        # The tick keeps its own time: /clock, where it is used, comes too coarse and too late.
        timer = self.create_timer(
            seconds(self._gate.period),
            self.guarded(self._tick),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self.finally_do(self.destroy_timer, timer)

    def _take_over(self, joints: JointState, arrival: Instant) -> None:
        """Begin where the arm stands; what takes time must lie before this."""
        now = self._instant()
        if now.steady - arrival.steady > nanoseconds(self.parameter("joint_state_age_hold")):
            raise ConfigurationError("the last joint state is too old: check the robot's driver")
        try:
            self._gate.activate(joints, now, self._fresh_robot(now))
        except GateRefusal as error:
            raise ConfigurationError(str(error)) from error
        self._reports.life("activated", Mode.INACTIVE, self._gate.mode, now)
        self._last_tick = self._next_state = now.steady
        self._next_rival_check = now.steady + nanoseconds(RIVAL_PERIOD)
        self._ticks = 0
        self._slices_wait = False

    def _fresh_robot(self, now: Instant) -> RobotReport | None:
        """The robot's last report, where it is fresh enough to count."""
        if self._last_robot is None:
            return None
        report, arrival = self._last_robot
        fresh = now.steady - arrival.steady <= nanoseconds(self.parameter("robot_age"))
        return report if fresh else None

    def _use_realtime(self) -> None:
        priority = self.parameter("realtime_priority")
        problem = realtime.use_realtime(priority) if priority else ""
        self._realtime = bool(priority) and not problem
        if problem:
            self.get_logger().warning(problem)
        if not self._realtime:
            realtime.use_short_slices()
        self.finally_do(realtime.use_default_scheduling)

    def deactivate(self) -> None:
        """Finish the stop, then fall silent.

        The executor is busy with this transition, so the ticks are made here.
        """
        if not self._gate.active:
            return
        self._gate.begin_shutdown(self._instant())
        deadline = time.monotonic_ns() + nanoseconds(LONGEST_STOP)
        due = self._last_tick
        while not self._gate.at_rest and due < deadline:
            due += self._gate.period
            time.sleep(max(0.0, seconds(due - time.monotonic_ns())))
            self._tick()
        self._reports.publish_interventions()
        before, now = self._gate.mode, self._instant()
        self._gate.deactivate()
        self._reports.life("deactivated", before, Mode.INACTIVE, now)
        self._publish_state(now)

    def on_callback_error(self, error: Exception) -> None:
        """A fault of the supervisor itself: ESTOP; the stop goes on being published."""
        if self.active:
            self._gate.internal_error(f"{type(error).__name__}: {error}", self._instant())

    def diagnose(self) -> list[Diagnosis]:
        """The node's, the gate's and the journal's."""
        return super().diagnose() + (self._reports.diagnose() if self.configured else [])

    # Tick.

    def _instant(self) -> Instant:
        return Instant(ros=self.now(), steady=time.monotonic_ns())

    def _tick(self) -> None:
        now = self._instant()
        self._last_tick = now.steady
        result = self._gate.tick(now)
        self._output.send(result.command, now)
        self._plans.new_tick()
        self._reports.note(result)
        self._ticks += 1
        self._to_prepare.trigger()
        if self._slices_wait:
            self._slices_wait = False
            self._more_to_check.trigger()
        state_key = (result.mode, result.reasons, self._gate.plan_id)
        if (
            state_key != self._state_key
            or now.steady >= self._next_state
            or self._ticks % COLLECT_TICKS == 0
            or self._gate.interventions_waiting
        ):
            self._state_key = state_key
            self._chores_due.trigger()

    def _prepare(self) -> None:
        """Work ahead for the next tick, after the last one and at once when the plan is another."""
        if self._gate.prepare():
            self._to_prepare.trigger()

    def _chores(self) -> None:
        """What may come after the command: the tick goes first, also when this takes long."""
        if not self.active:
            return
        now = self._instant()
        self._reports.publish_interventions()
        if now.steady >= self._next_state or self._state_key != self._published_key:
            self._published_key = self._state_key
            self._next_state = now.steady + nanoseconds(STATE_PERIOD)
            self._publish_state(now)
        if now.steady >= self._next_rival_check:
            self._next_rival_check = now.steady + nanoseconds(RIVAL_PERIOD)
            self._stop_at_rivals(now)
        realtime.collect_young()

    def _stop_at_rivals(self, now: Instant) -> None:
        rivals = rival_publishers(self, self._output.topics)
        if rivals:
            self.report("rival", rivals)
            self._gate.request_stop(now)

    def _publish_state(self, now: Instant) -> None:
        self._reports.publish_state(now, self._realtime)

    # Input.

    def _take_joints(self, joints: JointState) -> str:
        now = self._instant()
        self._last_joints = (joints, now)
        return self._gate.on_joint_state(joints, now) if self.active else ""

    def _take_chunk(self, chunk: ActionChunk) -> None:
        accepted = self._gate.on_chunk(chunk, self._instant(), in_slices=True)
        self.give_way()
        if accepted:
            self._prepare()
            self._more_to_check.trigger()

    def _refuse_message(self, source_id: str, number: int, problem: str) -> None:
        self._gate.on_malformed_chunk(source_id, number, problem, self._instant())

    def _check_slices(self) -> None:
        """A short part of a chunk's check; the tick may come between two of them.

        None is begun shortly before a tick, which would be late.
        """
        now = self._instant()
        if now.steady > self._last_tick + self._gate.period - nanoseconds(LONGEST_SLICE):
            self._slices_wait = True
            return
        enough = now.steady + nanoseconds(SLICE_TIME)
        while self._gate.check_slice(now):
            if time.monotonic_ns() >= enough:
                self._more_to_check.trigger()
                return
        self._prepare()

    def _on_heartbeat(self, message: Header) -> None:
        if self.active and message.frame_id == MANAGER:
            self._gate.on_heartbeat(MANAGER, self._instant())

    def _on_robot(self, message: RobotModeMessage) -> None:
        now, report = self._instant(), robot_report(message)
        self._last_robot = (report, now)
        if self.active:
            self._gate.on_robot(report, now)

    def _on_prediction(self, message: FailurePredictionMessage) -> None:
        if not self.active or not message.valid:
            return
        now = self._instant()
        horizons, types = list(message.horizons), list(message.failure_types)
        table = np.asarray(message.probabilities, np.float64)
        if table.size == len(horizons) * len(types):
            table = table.reshape(len(horizons), len(types))
        problem = self._gate.on_prediction(table, types, horizons, message.alarm, True, now)
        if problem:
            self.report("prediction", problem)
        else:
            self.recovered("prediction")
            self._gate.on_heartbeat(PREDICTION, now)

    # Parameters that change while it runs: judged before they are set, in force once they are.

    def _check_parameters(self, changes: list[RosParameter]) -> SetParametersResult:
        result = super()._check_parameters(changes)
        tuned = _tuned(changes)
        if not (result.successful and tuned and self.configured):
            return result
        possible, why = self._gate.reconfigure(tuned, self._instant(), apply=False)
        return SetParametersResult(successful=possible, reason=why)

    def _apply_parameters(self, changes: list[RosParameter]) -> None:
        tuned = _tuned(changes)
        if not (tuned and self.configured):
            return
        done, why = self._gate.reconfigure(tuned, self._instant())
        if not done:  # no tick lies between the check and this
            self.on_callback_error(RuntimeError(why))


def _tuned(changes: Sequence[RosParameter]) -> dict[str, Any]:
    return {change.name: change.value for change in changes if change.name in TUNABLE}


def main() -> None:
    """Entry point."""
    sys.exit(run(SafetySupervisor))


if __name__ == "__main__":
    main()
