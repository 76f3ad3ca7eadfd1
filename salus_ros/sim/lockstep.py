"""The whole graph in one thread, without DDS and without waiting: time passes only with the rig.

The same policy loop, signals, predictor and gate as in the nodes, given the rig's clock. Each tick
of the gate sees the joint state of its own moment, and the rig advances only once the tick's
command has come, so the same seed gives the same episode on any machine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from salus_ros.interfaces import FloatArray, Instant, JointState, nanoseconds
from salus_ros.policy.backend import Backend, PolicyError, Prediction
from salus_ros.policy.chunk_queue import QueueConfig
from salus_ros.policy.loop import InferenceLoop, LoopConfig, Pending
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.signals.calibration import Calibration
from salus_ros.signals.config import SignalConfig
from salus_ros.signals.monitor import SignalMonitor
from salus_ros.sim.disturbances import Disturbance
from salus_ros.sim.episode import EpisodeStatus, Phase
from salus_ros.sim.rig import Rig
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.detector_guard import Detectors
from salus_ros.supervision.gate import SafetyGate
from salus_ros.supervision.limits import RobotLimits

# Told of all that the graph would publish: when [ns], and a JointState, JointCommand, ActionChunk,
# PolicyState, StepSignals, PredictionResult, GateState, Intervention, EpisodeStatus, Observation or
# (the instruction) str.
Observer = Callable[[int, object], None]
STATE_PERIOD = 100_000_000  # ns between two GateStates while the mode stays


def _nobody(_time: int, _thing: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class LockstepConfig:
    """latency, jitter: an inference takes latency + U(0, jitter) on the rig's clock [s].

    cameras: rendered for each inference. execution_horizon, merging, rtc_schedule: as of the
    policy node.
    """

    latency: float = 0.03
    jitter: float = 0.0
    cameras: tuple[str, ...] = ()
    execution_horizon: int = 10
    merging: str = "latest"
    rtc_schedule: str = "exp"


@dataclass(frozen=True, slots=True)
class EpisodeRun:
    """One episode: its outcome, how long it took on the wall [s], interventions by reason."""

    status: EpisodeStatus
    wall_seconds: float
    interventions: dict[str, int] = field(default_factory=dict)

    @property
    def times_real_time(self) -> float:
        """Rig seconds per wall second."""
        return self.status.end / self.wall_seconds


class Lockstep:
    """Runs episodes of one policy on one rig."""

    def __init__(
        self,
        rig: Rig,
        backend: Backend,
        limits: RobotLimits,
        gate: GateConfig | None = None,
        config: LockstepConfig | None = None,
        detectors: Detectors | None = None,
        calibration: Calibration | None = None,
        observer: Observer = _nobody,
        new_source_id: Callable[[], str] | None = None,
        predictor: FailurePredictor | None = None,
    ) -> None:
        """predictor: the gate acts on what it says; None: nothing is predicted."""
        self._rig = rig
        self._backend = backend
        self._limits = limits
        self._gate_config = gate or GateConfig()
        self._config = config or LockstepConfig()
        self._detectors = detectors
        self._tell = observer
        gripper = limits.gripper.name if limits.gripper else ""
        queue = QueueConfig(
            joint_names=limits.arm.names,
            gripper_name=gripper,
            execution_horizon=self._config.execution_horizon,
            merging=self._config.merging,
            rtc_schedule=self._config.rtc_schedule,
        )
        sources = count(1)
        new_source_id = new_source_id or (lambda: f"lockstep-{next(sources)}")
        self._loop = InferenceLoop(backend, queue, self._now, LoopConfig(), new_source_id)
        self._monitor = SignalMonitor(
            SignalConfig(
                action_dims=queue.dims,
                joint_low=np.array(limits.arm.lower),
                joint_high=np.array(limits.arm.upper),
            ),
            calibration,
        )
        self._predictor = predictor or FailurePredictor()
        backend.warm_up()

    def _now(self) -> Instant:
        return Instant(ros=self._rig.time, steady=self._rig.time)

    def run_episode(
        self, instruction: str, seed: int, disturbance: str | Disturbance | None = None
    ) -> EpisodeRun:
        """One episode from reset to its end."""
        started = time.perf_counter()
        self._rig.reset(instruction, seed, disturbance)
        self._latencies = np.random.default_rng(seed)
        self._begin()
        interventions: Counter[str] = Counter()
        self._tell(self._rig.time, self._rig.policy_instruction)
        while self._rig.episode.phase is Phase.RUNNING:
            self._tell_episode()
            self._tick()
            for intervention in self._gate.drain_interventions():
                interventions[intervention.reason] += 1
                self._tell(self._rig.time, intervention)
        self._tell_episode()
        return EpisodeRun(self._rig.episode, time.perf_counter() - started, dict(interventions))

    def _begin(self) -> None:
        self._gate = SafetyGate(self._gate_config, self._limits, self._detectors)
        self._gate.activate(self._rig.joint_state(), self._now())
        self._loop.activate()
        self._monitor.reset()
        self._predictor.reset()
        self._pending: tuple[Pending, Prediction, int] | None = None
        self._state_due = (self._rig.time, self._gate.mode)
        self._told: EpisodeStatus | None = None

    def _tick(self) -> None:
        now, joints = self._now(), self._rig.joint_state()
        self._tell(now.ros, joints)
        self._infer(now)
        self._gate.on_joint_state(joints, now)
        command = self._gate.tick(now).command
        self._rig.command(command)
        self._tell(now.ros, command)
        self._tell_state(now)
        self._observe_execution(joints, command.stamp, command.positions)
        self._rig.advance(self._gate_config.period)

    def _tell_episode(self) -> None:
        """The episode, at each change."""
        if self._rig.episode is not self._told:
            self._told = self._rig.episode
            self._tell(self._rig.time, self._told)

    def _tell_state(self, now: Instant) -> None:
        """The gate's state, at each change of its mode and in between, as its node publishes it."""
        if self._tell is _nobody:
            return
        due, mode = self._state_due
        if now.ros >= due or mode is not self._gate.mode:
            self._tell(now.ros, self._gate.state(now))
            self._state_due = (now.ros + STATE_PERIOD, self._gate.mode)

    def _infer(self, now: Instant) -> None:
        """Begin an inference when one is due; take its chunk when its latency has passed."""
        if self._pending is not None and now.ros >= self._pending[2]:
            pending, prediction, _ = self._pending
            self._pending = None
            outcome = self._loop.finish(pending, prediction)
            if outcome.plan is not None and outcome.state is not None:
                self._tell(now.ros, outcome.plan.chunk)
                self._tell(now.ros, outcome.state)
                self._gate.on_chunk(outcome.plan.chunk, now)
                self._monitor.on_chunk(outcome.plan.chunk, now.ros)
                self._monitor.on_policy_state(outcome.state)
        if self._pending is None and self._loop.wait_seconds(now) == 0.0:
            self._begin_inference(now)

    def _begin_inference(self, now: Instant) -> None:
        observation = self._rig.observe(self._config.cameras)
        pending = self._loop.begin(observation)
        if pending is None:
            return
        self._tell(now.ros, observation)
        try:
            prediction = self._loop.predict(pending)
        except PolicyError:
            return
        taken = self._config.latency + self._config.jitter * self._latencies.random()
        self._pending = (pending, prediction, now.ros + nanoseconds(taken))

    def _observe_execution(self, joints: JointState, stamp: int, positions: FloatArray) -> None:
        self._monitor.on_joint_state(joints)
        self._monitor.on_command(stamp, positions)
        for due in self._monitor.advance(self._rig.time):
            step = due.step
            self._tell(self._rig.time, due)
            prediction = self._predictor.on_signals(
                step.source_id, step.chunk_number, step.step, step.observation_stamp, due.signals
            )
            self._tell(self._rig.time, prediction)
            self._gate.on_prediction(
                prediction.probabilities,
                prediction.failure_types,
                prediction.horizons,
                prediction.alarm,
                prediction.valid,
                self._now(),
            )
