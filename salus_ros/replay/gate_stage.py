"""The gate of a replay, and the arm that it believes to command.

Measured joints are those of the recording. Where the replayed command differs from the recorded
one, they are moved by that difference: the arm is taken to follow the one as it followed the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from salus_ros.interfaces import ActionChunk, FloatArray, Instant, JointState
from salus_ros.prediction.layout import PredictionResult
from salus_ros.replay.event_reader import Malformed
from salus_ros.replay.node_parameters import PREDICTOR
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.settings import Settings
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.errors import GateRefusal
from salus_ros.supervision.gate import SafetyGate
from salus_ros.supervision.gate_state import TickResult
from salus_ros.supervision.modes import Mode

STATE_PERIOD: Final = 100_000_000  # ns between two states while the mode stays


class GateStage:
    """A gate, told by one of the clocks; what it decides goes to the outputs."""

    def __init__(self, settings: Settings, config: GateConfig, outputs: Outputs) -> None:
        self.gate = SafetyGate(config, settings.limits, settings.detectors())
        self._outputs = outputs
        self._shift: FloatArray | None = None
        self._joints_at = 0
        self._state_due, self._mode = 0, Mode.INACTIVE

    def activate(self, joints: JointState, now: Instant) -> bool:
        """Begin where the arm stands; whether it could."""
        try:
            self.gate.activate(joints, now)
        except GateRefusal as error:
            refusals = self._outputs.refusals
            if not refusals or refusals[-1][1] != str(error):
                refusals.append((now.ros, str(error)))
            return False
        self._shift, self._joints_at = None, joints.stamp
        return True

    def moved(self, joints: JointState) -> JointState:
        """A recorded measurement as the replayed command would have it."""
        self._joints_at = joints.stamp
        if self._shift is None:
            return joints
        return replace(joints, positions=joints.positions + self._shift)

    def on_plan(self, chunk: ActionChunk | Malformed, now: Instant) -> None:
        """A chunk, or what is none."""
        if isinstance(chunk, ActionChunk):
            self.gate.on_chunk(chunk, now)
        else:
            self.gate.on_malformed_chunk(*chunk, now)

    def on_prediction(self, found: PredictionResult, now: Instant) -> None:
        """As the node does: invalid ones don't count."""
        if not found.valid or not self.gate.active:
            return
        problem = self.gate.on_prediction(
            found.probabilities, found.failure_types, found.horizons, found.alarm, True, now
        )
        if not problem:
            self.gate.on_heartbeat(PREDICTOR, now)

    def ticked(self, result: TickResult, now: Instant, recorded: JointState | None) -> None:
        """Gather a tick. recorded: the command that was sent then."""
        out, command = self._outputs, result.command
        out.ticks.append(now.ros)
        out.modes.append(result.mode)
        out.commands.append(command)
        out.joint_ages.append((now.ros - self._joints_at) / 1e9)
        out.recorded.append(recorded)
        out.plans.append(self.gate.plan_id)
        if recorded is not None:
            same = command.positions.tobytes() == recorded.positions.tobytes()
            self._shift = None if same else command.positions - recorded.positions
        if self.gate.interventions_waiting:
            out.interventions.extend(self.gate.drain_interventions())
        if now.ros >= self._state_due or result.mode is not self._mode:
            self._state_due, self._mode = now.ros + STATE_PERIOD, result.mode
            out.states.append((now.ros, self.gate.state(now)))
