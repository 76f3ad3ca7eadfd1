"""The whole graph in one thread, without DDS and without waiting: time passes only with the rig.

The same policy loop, signals, predictor and gate as in the nodes, given the rig's clock. Each tick
of the gate sees the joint state of its own moment, and the rig advances only once the tick's
command has come, so the same seed gives the same episode on any machine.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from salus_ros.interfaces import FloatArray, Instant, JointState, nanoseconds
from salus_ros.policy.backend import Backend, PolicyError, Prediction
from salus_ros.policy.chunk_queue import QueueConfig
from salus_ros.policy.loop import InferenceLoop, LoopConfig, Pending
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.signals.config import SignalConfig
from salus_ros.signals.monitor import SignalMonitor
from salus_ros.sim.disturbances import Disturbance
from salus_ros.sim.episode import EpisodeStatus, Phase
from salus_ros.sim.rig import Rig
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.detector_guard import Detectors
from salus_ros.supervision.gate import SafetyGate
from salus_ros.supervision.limits import RobotLimits


@dataclass(frozen=True, slots=True)
class LockstepConfig:
    """latency: how long an inference takes on the rig's clock [s].

    cameras: rendered for each inference. execution_horizon, merging: as of the policy node.
    """

    latency: float = 0.03
    cameras: tuple[str, ...] = ()
    execution_horizon: int = 10
    merging: str = "latest"


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
    ) -> None:
        self._rig = rig
        self._backend = backend
        self._limits = limits
        self._gate_config = gate or GateConfig()
        self._config = config or LockstepConfig()
        self._detectors = detectors
        gripper = limits.gripper.name if limits.gripper else ""
        queue = QueueConfig(
            joint_names=limits.arm.names,
            gripper_name=gripper,
            execution_horizon=self._config.execution_horizon,
            merging=self._config.merging,
        )
        sources = count(1)
        self._loop = InferenceLoop(
            backend, queue, self._now, LoopConfig(), lambda: f"lockstep-{next(sources)}"
        )
        self._monitor = SignalMonitor(
            SignalConfig(
                action_dims=queue.dims,
                joint_low=np.array(limits.arm.lower),
                joint_high=np.array(limits.arm.upper),
            )
        )
        self._predictor = FailurePredictor()
        backend.warm_up()

    def _now(self) -> Instant:
        return Instant(ros=self._rig.time, steady=self._rig.time)

    def run_episode(
        self, instruction: str, seed: int, disturbance: str | Disturbance | None = None
    ) -> EpisodeRun:
        """One episode from reset to its end."""
        started = time.perf_counter()
        self._rig.reset(instruction, seed, disturbance)
        self._begin()
        interventions: Counter[str] = Counter()
        while self._rig.episode.phase is Phase.RUNNING:
            self._tick()
            interventions.update(i.reason for i in self._gate.drain_interventions())
        return EpisodeRun(self._rig.episode, time.perf_counter() - started, dict(interventions))

    def _begin(self) -> None:
        self._gate = SafetyGate(self._gate_config, self._limits, self._detectors)
        self._gate.activate(self._rig.joint_state(), self._now())
        self._loop.activate()
        self._monitor.reset()
        self._predictor.reset()
        self._pending: tuple[Pending, Prediction, int] | None = None

    def _tick(self) -> None:
        now, joints = self._now(), self._rig.joint_state()
        self._infer(now)
        self._gate.on_joint_state(joints, now)
        command = self._gate.tick(now).command
        self._rig.command(command)
        self._observe_execution(joints, command.stamp, command.positions)
        self._rig.advance(self._gate_config.period)

    def _infer(self, now: Instant) -> None:
        """Begin an inference when one is due; take its chunk when its latency has passed."""
        if self._pending is not None and now.ros >= self._pending[2]:
            pending, prediction, _ = self._pending
            self._pending = None
            outcome = self._loop.finish(pending, prediction)
            if outcome.plan is not None and outcome.state is not None:
                self._gate.on_chunk(outcome.plan.chunk, now)
                self._monitor.on_chunk(outcome.plan.chunk, now.ros)
                self._monitor.on_policy_state(outcome.state)
        if self._pending is None and self._loop.wait_seconds(now) == 0.0:
            self._begin_inference(now)

    def _begin_inference(self, now: Instant) -> None:
        pending = self._loop.begin(self._rig.observe(self._config.cameras))
        if pending is None:
            return
        try:
            prediction = self._loop.predict(pending)
        except PolicyError:
            return
        self._pending = (pending, prediction, now.ros + nanoseconds(self._config.latency))

    def _observe_execution(self, joints: JointState, stamp: int, positions: FloatArray) -> None:
        self._monitor.on_joint_state(joints)
        self._monitor.on_command(stamp, positions)
        for due in self._monitor.advance(self._rig.time):
            step = due.step
            self._predictor.on_signals(
                step.source_id, step.chunk_number, step.step, step.observation_stamp, due.signals
            )
