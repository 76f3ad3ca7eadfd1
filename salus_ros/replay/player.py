"""What is the same whichever clock a replay follows: the signals' side, and who hears of what."""

from __future__ import annotations

from typing import Final, NamedTuple

from salus_ros.interfaces import ActionChunk, Instant
from salus_ros.nodes import topics
from salus_ros.prediction.layout import PredictionResult
from salus_ros.replay.columns import RecordedSignals
from salus_ros.replay.event_reader import Event, Malformed
from salus_ros.replay.gate_stage import GateStage
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.plans import Plans
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.replay.settings import Settings
from salus_ros.replay.signal_stage import SignalStage
from salus_ros.supervision.gate_state import NEW_EPISODE

STAGES: Final = ("signals", "predictor", "supervisor")


class Through(NamedTuple):
    """Which stages work anew; the recording stands for the others."""

    signals: bool = True
    predictor: bool = True
    supervisor: bool = True

    @property
    def stages(self) -> list[str]:
        """Names of those that work anew."""
        return [name for name in STAGES if getattr(self, name)]

    @property
    def without_gate(self) -> Through:
        """The signals' side of it."""
        return self._replace(supervisor=False)


ONLY_GATE: Final = Through(False, False, True)


class Player:
    """What both clocks share: the signals' side, and who is told of what."""

    def __init__(
        self, run: RecordedRun, settings: Settings, through: Through, outputs: Outputs, plans: Plans
    ) -> None:
        self._run, self._settings, self._out, self._plans = run, settings, outputs, plans
        self._through = through
        self._predicts = through.predictor and settings.model is not None
        self._gate: GateStage | None = None
        self._signals: SignalStage | None = None
        if through.signals or self._predicts:
            heard = through.supervisor and settings.gate_hears_predictor
            tell = self._on_prediction if heard else None
            self._signals = SignalStage(settings, outputs, plans.dims, self._predicts, tell)
        self._steady_ahead = 0
        # Whether chunks and states are those of a policy that is asked anew.
        self._asks_policy = False
        self._instruction: str | None = None
        self._episode: int | None = None

    def play(self) -> None:
        """All of it, to the end."""
        raise NotImplementedError

    def finish(self) -> None:
        """All was played."""
        if self._signals is not None:
            self._signals.finish()

    def _time(self, event: Event) -> int:
        """When an event was received, on the clock of the stamps."""
        return event.time - self._run.offset

    def _instant(self, now: int) -> Instant:
        return Instant(now, now + self._steady_ahead)

    def _on_prediction(self, found: PredictionResult, now: int) -> None:
        if self._gate is not None:
            self._gate.on_prediction(found, self._instant(now))

    def _to_signals(self, event: Event, now: int) -> None:
        """The signals' side of an event."""
        signals = self._signals
        if signals is None:
            return
        topic, content = event.topic, event.content
        if topic == topics.SIGNALS and not self._through.signals:
            recorded: RecordedSignals = content
            signals.predict(*recorded, now)
        elif not self._through.signals:
            return
        elif topic == topics.JOINT_STATES:
            signals.on_joint_state(content)
        elif topic == topics.POLICY_STATE and not self._asks_policy:
            signals.on_policy_state(content.state)
        elif topic == topics.INTERVENTIONS and content.reason == NEW_EPISODE:
            signals.new_episode()
        if topic == topics.JOINT_COMMANDS:
            signals.on_command(content)

    def _plan_to_signals(self, chunk: ActionChunk | Malformed | None, now: int) -> None:
        if self._signals is not None and self._through.signals and isinstance(chunk, ActionChunk):
            self._signals.on_chunk(chunk, now)

    def _begins_episode(self, event: Event) -> bool:
        """Whether the gate's node takes this for the beginning of an episode."""
        if event.topic == topics.INSTRUCTION:
            before, self._instruction = self._instruction, event.content
            return bool(before is not None and before != event.content)
        if event.topic == topics.SIM_EPISODE:
            number, self._episode = self._episode, int(event.content.number)
            return number is not None and number != self._episode
        return False
