"""Signals and predictions of a recording, by the same monitor and predictor as in the nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from salus_ros.interfaces import ActionChunk, JointCommand, JointState, PolicyState, seconds
from salus_ros.prediction.layout import PredictionResult
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.prediction.whole import RecordedStep, predict_recording
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.settings import Settings
from salus_ros.signals.layout import SignalVector


class SignalStage:
    """Chunks, states, joint states and commands in; signals and predictions to the outputs.

    predict: whether predictions are made anew; tell: gets each of them with its time [ns]. None:
    nobody waits for them, and `finish` makes all of them at once.
    """

    def __init__(
        self,
        settings: Settings,
        outputs: Outputs,
        dims: int,
        predict: bool,
        tell: Callable[[PredictionResult, int], None] | None,
    ) -> None:
        """dims: columns of an action in this recording."""
        if dims != settings.signals.action_dims:
            signals = replace(settings.signals, action_dims=dims)
            settings = replace(settings, signals=signals, calibration=None)
        self._monitor = settings.monitor()
        self._model = settings.model if predict else None
        self._signal_age = settings.signal_age
        self._predictor: FailurePredictor | None = settings.predictor() if predict else None
        self._outputs, self._tell = outputs, tell
        self._waiting: list[tuple[int, RecordedStep]] = []
        # Chunks that have no signals, the first reason of each kind.
        self.problems: list[str] = []

    def on_chunk(self, chunk: ActionChunk, now: int) -> None:
        """A plan arrived."""
        problem = self._monitor.on_chunk(chunk, now)
        if problem and len(self.problems) < 3:
            self.problems.append(problem)

    def on_policy_state(self, state: PolicyState) -> None:
        """What belongs to a chunk."""
        self._monitor.on_policy_state(state)

    def on_joint_state(self, joints: JointState) -> None:
        """A measurement."""
        self._monitor.on_joint_state(joints)

    def on_command(self, command: JointState | JointCommand) -> None:
        """A command that the arm was given."""
        self._monitor.on_command(command.stamp, command.positions)

    def new_episode(self) -> None:
        """An episode begins."""
        self._monitor.new_episode()

    def advance(self, now: int) -> None:
        """Signals of the steps that are due by now, and their predictions."""
        for due in self._monitor.advance(now):
            self._outputs.steps.append((now, due))
            step = due.step
            ids = step.source_id, step.chunk_number, step.step, step.observation_stamp
            self.predict(*ids, due.signals, now)

    def predict(
        self,
        source_id: str,
        chunk_number: int,
        step: int,
        observation_stamp: int,
        signals: SignalVector,
        now: int,
    ) -> None:
        """The prediction of a step, whose signals may as well be recorded ones."""
        if self._predictor is None:
            return
        age = seconds(now - observation_stamp)
        told = RecordedStep(source_id, chunk_number, step, observation_stamp, signals, age)
        if self._tell is None:
            self._waiting.append((now, told))
            return
        found = self._predictor.on_signals(*told)
        self._outputs.predictions.append((now, found))
        self._tell(found, now)

    def finish(self) -> None:
        """The recording is over: predictions that nobody waited for."""
        if self._model is not None and self._waiting:
            steps = [step for _, step in self._waiting]
            found = predict_recording(self._model, steps, self._signal_age)
            times = [now for now, _ in self._waiting]
            self._outputs.predictions.extend(zip(times, found, strict=True))
