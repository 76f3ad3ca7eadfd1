"""From the graph's topics to signals: what the signal node, lock-step and replay share.

Feed everything as it arrives, then `advance` to the present: one vector comes out for each step
that has been executed meanwhile, with the latent of its own chunk and the joints of its own time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import replace
from typing import Final, NamedTuple

from salus_ros.interfaces import (
    ActionChunk,
    FloatArray,
    JointState,
    PolicyState,
    nanoseconds,
)
from salus_ros.signals.calibration import Calibration
from salus_ros.signals.config import Normalisation, SignalConfig
from salus_ros.signals.extractor import SignalExtractor
from salus_ros.signals.lag import LagModel
from salus_ros.signals.layout import SignalError, SignalVector
from salus_ros.signals.step_clock import DueStep, StepClock

# Policy states that wait for their chunk's first step, and measurements for a late tick.
WAITING_STATES: Final = 16
JOINT_STATES: Final = 256


def with_action_range(config: SignalConfig, calibration: Calibration | None) -> SignalConfig:
    """The config with the calibrated action range as -1 ... 1, unless it says otherwise."""
    if calibration is None or not calibration.action_low.size or config.normalisation is not None:
        return config
    normalisation = Normalisation.of_range(calibration.action_low, calibration.action_high)
    return replace(config, normalisation=normalisation)


class StepSignals(NamedTuple):
    """The signals of one executed step."""

    step: DueStep
    signals: SignalVector


class SignalMonitor:
    """Signals of one policy on one robot; memory is bounded.

    Actions come in radians and metres; a calibration's action range normalises them.
    joint_age: a measurement older than this when the step was due tells nothing about it [s].
    """

    def __init__(
        self,
        config: SignalConfig,
        calibration: Calibration | None = None,
        joint_age: float = 0.1,
    ) -> None:
        self._config = config = with_action_range(config, calibration)
        self._extractor = SignalExtractor(config, calibration)
        self._clock = StepClock()
        lag = None if calibration is None or not calibration.lag_seconds.size else calibration
        self._lag = None if lag is None else LagModel(lag.lag_seconds)
        self._joint_age = nanoseconds(joint_age)
        self._states: OrderedDict[tuple[str, int], PolicyState] = OrderedDict()
        self._joints: deque[JointState] = deque(maxlen=JOINT_STATES)
        self.reset()

    def reset(self) -> None:
        """An episode begins: forget plan, history and motion."""
        self._clock.reset()
        self._extractor.reset()
        self._states.clear()
        self._joints.clear()
        self._in_force: tuple[str, int] | None = None
        self._source_id = ""
        if self._lag is not None:
            self._lag.reset()

    def new_episode(self) -> None:
        """An episode begins while the plan goes on: only the history is forgotten."""
        self._extractor.reset()

    @property
    def problem(self) -> str:
        """One line where latents and calibration don't fit, else empty."""
        return self._extractor.problem

    def on_chunk(self, chunk: ActionChunk, arrival: int) -> str:
        """A plan arrived [ns]. Returns why it is left out, or an empty string."""
        dims = chunk.actions.shape[-1] if chunk.actions.ndim == 2 else 0
        if dims != self._config.action_dims:
            return (
                f"chunk {chunk.number} has {dims} action dimensions, "
                f"{self._config.action_dims} are configured: it is left out"
            )
        return self._clock.on_chunk(chunk, arrival)

    def on_policy_state(self, state: PolicyState) -> None:
        """What belongs to a chunk; it takes effect with the chunk's next step, in either order."""
        self._states[state.source_id, state.chunk_number] = state
        while len(self._states) > WAITING_STATES:
            self._states.popitem(last=False)

    def on_joint_state(self, state: JointState) -> None:
        """A measurement. Raises SignalError where the number of joints is not the robot's."""
        limits = self._config.joint_low
        if limits is not None and state.positions.shape != (len(limits),):
            raise SignalError(
                f"{state.positions.size} joints are measured, the joint limits are {len(limits)}"
            )
        if self._joints and state.stamp < self._joints[-1].stamp:
            self._joints.clear()  # The clock was set back.
        self._joints.append(state)

    def on_command(self, stamp: int, positions: FloatArray) -> None:
        """A command of /joint_commands: its trajectory clock [ns] and joints [joints] rad."""
        if self._lag is not None:
            self._lag.on_command(stamp, positions)

    def advance(self, now: int) -> list[StepSignals]:
        """Signals of the steps that have become due by now [ns], in order."""
        return [StepSignals(step, self._signals(step)) for step in self._clock.advance(now)]

    def _signals(self, step: DueStep) -> SignalVector:
        self._enter_chunk(step)
        measured = self._measured(step.execution_time)
        if measured is None:
            return self._extractor.step(step.action)
        predicted = None if self._lag is None else self._lag.predict(measured.stamp)
        return self._extractor.step(step.action, measured.positions, predicted)

    def _enter_chunk(self, step: DueStep) -> None:
        """Bring the chunk's latent into force, once, when it is known."""
        if step.source_id != self._source_id:
            if self._source_id:
                self._extractor.reset()
            self._source_id = step.source_id
        chunk = (step.source_id, step.chunk_number)
        state = self._states.pop(chunk, None)
        if state is None or chunk == self._in_force:
            return
        self._in_force = chunk
        self._extractor.on_chunk(
            state.latent, state.distribution, state.source_id, state.instruction
        )

    def _measured(self, time: int) -> JointState | None:
        for state in reversed(self._joints):
            if state.stamp <= time:
                return state if time - state.stamp <= self._joint_age else None
        return None
