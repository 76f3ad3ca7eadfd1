"""The gate hears what it heard live, call by call; the rest of the recording fits in."""

from __future__ import annotations

from salus_ros.interfaces import ActionChunk, Instant, JointState
from salus_ros.nodes import topics
from salus_ros.prediction.layout import PredictionResult
from salus_ros.replay.event_reader import Event
from salus_ros.replay.gate_stage import GateStage
from salus_ros.replay.heard import Step, as_heard, heard_predictions, step_of
from salus_ros.replay.node_parameters import PREDICTOR
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.plans import Plans
from salus_ros.replay.player import Player, Through
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.replay.settings import Settings
from salus_ros.replay.trace import Messages, Trace
from salus_ros.supervision.gate_replay import tell
from salus_ros.supervision.gate_state import TickResult
from salus_ros.supervision.gate_trace import CHUNKS, JOINT_STATES, EventKind, GateEvent


class TracedPlayer(Player):
    """The gate hears what it heard live, in that order; the rest of the recording fits in."""

    def __init__(
        self,
        run: RecordedRun,
        settings: Settings,
        through: Through,
        outputs: Outputs,
        plans: Plans,
        trace: Trace,
    ) -> None:
        super().__init__(run, settings, through, outputs, plans)
        outputs.ticks_from = "trace"
        self._trace, self._messages = trace, Messages(run, trace.events)
        self._gate = GateStage(settings, settings.gate, outputs)
        self._sent = {e.content.stamp: e.content for e in run.of(topics.JOINT_COMMANDS)}
        self._heard = list(heard_predictions(run, trace.events))
        self._heard.reverse()
        # Made anew; and steps whose predictions are told as soon as they are made.
        self._made: dict[Step, PredictionResult] = {}
        self._awaited: set[Step] = set()
        # Whether the live gate had predictions at all: else they are told when they are made.
        self._moments = bool(run.of(topics.FAILURE_PREDICTION) or self._heard)

    def play(self) -> None:
        """All of it, to the end."""
        events = iter(as_heard(self._run, self._trace.events))
        event = next(events, None)
        for told in self._trace.events:
            while event is not None and self._time(event) <= told.now.ros:
                self._feed(event)
                event = next(events, None)
            self._tell(told)
        while event is not None:
            self._feed(event)
            event = next(events, None)
            if self._signals is not None and event is not None:
                self._signals.advance(self._time(event))

    def _feed(self, event: Event) -> None:
        now = self._time(event)
        if event.topic != topics.JOINT_COMMANDS:  # they come with the tick that made them
            self._to_signals(event, now)
        if (
            self._signals is not None
            and self._through.signals
            and event.topic == self._plans.source
        ):
            chunk = self._plans.chunk(event, now)
            if isinstance(chunk, ActionChunk):
                self._signals.on_chunk(chunk, now)
        if self._predicts and event.topic == topics.FAILURE_PREDICTION and not event.content.valid:
            # The live gate left it out when it came.
            self._hear(step_of(event.content), self._instant(now))

    def _on_prediction(self, found: PredictionResult, now: int) -> None:
        step = step_of(found)
        self._made[step] = found
        if not self._moments or step in self._awaited:
            super()._on_prediction(found, now)

    def _hear(self, step: Step | None, now: Instant) -> None:
        """The live gate heard the prediction of that step; None: of the newest one."""
        if self._signals is not None and self._through.signals:
            self._signals.advance(now.ros)
        if step is None and self._made:
            step = next(reversed(self._made))
        if step is None:
            return
        found = self._made.get(step)
        if found is None:
            self._awaited.add(step)
        elif self._gate is not None:
            self._gate.on_prediction(found, now)

    def _tell(self, told: GateEvent) -> None:
        stage = self._gate
        assert stage is not None
        self._steady_ahead = told.now.steady - told.now.ros
        if self._predicts and _of_prediction(told):
            if told.kind is EventKind.PREDICTION:
                self._hear(self._heard.pop(), told.now)
            return
        message = self._messages.of(told)
        if message is None and (told.kind in CHUNKS or told.kind in JOINT_STATES):
            self._out.unmatched += 1
            return
        if told.kind is EventKind.ACTIVATE and isinstance(message, JointState):
            stage.activate(message, told.now)
            return
        if told.kind is EventKind.JOINTS and isinstance(message, JointState):
            message = stage.moved(message)
        if not stage.gate.active:
            return
        answer = tell(stage.gate, told, message)
        if isinstance(answer, TickResult):
            self._ticked(answer, told)

    def _ticked(self, answer: TickResult, told: GateEvent) -> None:
        assert self._gate is not None
        recorded = self._sent.get(answer.command.stamp)
        self._gate.ticked(answer, told.now, recorded)
        self._plans.new_tick()
        if self._signals is not None and self._through.signals:
            self._signals.on_command(recorded or answer.command)
            self._signals.advance(told.now.ros)


def _of_prediction(told: GateEvent) -> bool:
    beat = told.kind is EventKind.HEARTBEAT and told.text == PREDICTOR
    return beat or told.kind is EventKind.PREDICTION
