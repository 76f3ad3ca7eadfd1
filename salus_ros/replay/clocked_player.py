"""The gate ticks on the recorded clock, and hears what was received by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from salus_ros.interfaces import ActionChunk, Instant, JointState, PolicyState
from salus_ros.nodes import topics
from salus_ros.prediction.layout import PredictionResult
from salus_ros.replay.event_reader import Event
from salus_ros.replay.gate_stage import GateStage
from salus_ros.replay.node_parameters import PREDICTOR
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.plans import Plans
from salus_ros.replay.player import Player, Through
from salus_ros.replay.policy_stage import PolicyStage, Take
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.replay.settings import Settings

# Commands that come farther from the gate's rate than this share don't give its ticks.
RATE_SHARE: Final = 0.2


class ClockedPlayer(Player):
    """The gate ticks on the recorded clock, and hears what was received by then."""

    def __init__(
        self,
        run: RecordedRun,
        settings: Settings,
        through: Through,
        outputs: Outputs,
        plans: Plans,
        own_rate: bool = False,
        policy: Callable[[Take], PolicyStage] | None = None,
    ) -> None:
        """own_rate: ticks never come from commands. policy: makes the stage whose chunks count."""
        super().__init__(run, settings, through, outputs, plans)
        # Nobody else's heartbeat, switch or report can be in such a recording.
        config = replace(settings.gate, require_enable=False, require_robot=False, heartbeats={})
        if PREDICTOR in settings.gate.heartbeats:
            config = replace(config, heartbeats={PREDICTOR: settings.gate.heartbeats[PREDICTOR]})
        if through.supervisor:
            self._gate = GateStage(settings, config, outputs)
        self._by_commands = not own_rate and self._commands_give_ticks()
        outputs.ticks_from = "commands" if self._by_commands else "grid"
        self._policy = None if policy is None else policy(self._take_chunk)
        self._asks_policy = policy is not None
        # Predictions that were made before, the next one last.
        self._foreseen: list[tuple[int, PredictionResult]] = []
        self._newest: JointState | None = None
        self._command: JointState | None = None

    def hear(self, predictions: Sequence[tuple[int, PredictionResult]]) -> None:
        """The gate is told these, each at its time [ns], and not the recorded ones."""
        self._predicts = True
        self._foreseen = list(predictions)
        self._foreseen.reverse()

    def _commands_give_ticks(self) -> bool:
        times = [event.time for event in self._run.of(topics.JOINT_COMMANDS)]
        if len(times) < 2 or self._plans.source == topics.JOINT_COMMANDS:
            return False
        period = self._settings.gate.period
        median = float(np.median([after - before for before, after in pairwise(times)]))
        return bool(abs(median / period - 1.0) <= RATE_SHARE)

    def play(self) -> None:
        """All of it, to the end."""
        for event, tick in self._timeline():
            if event is not None:
                self._feed(event, self._time(event))
            if tick is not None:
                self._tick(tick)
            if tick is not None:
                self._tell_foreseen(tick)
            elif event is not None:
                self._tell_foreseen(self._time(event))
        if self._policy is not None and not self._out.chunks:
            self._out.policy_problem = self._policy.problem or "no time for one"

    def _tell_foreseen(self, now: int) -> None:
        while self._foreseen and self._foreseen[-1][0] <= now:
            time, found = self._foreseen.pop()
            self._on_prediction(found, time)

    def _timeline(self) -> Iterator[tuple[Event | None, int | None]]:
        """Events and ticks [ns of the stamps' clock], in order."""
        due: int | None = None
        period = self._settings.gate.period
        for event in self._run.events:
            now = self._time(event)
            while due is not None and due < now:
                yield None, due
                due += period
            by_command = self._by_commands and event.topic == topics.JOINT_COMMANDS
            yield event, now if by_command else None
            if due is None and not self._by_commands and event.topic == topics.JOINT_STATES:
                due = now

    def _feed(self, event: Event, now: int) -> None:
        self._to_signals(event, now)
        topic, content = event.topic, event.content
        if topic == topics.JOINT_STATES:
            self._newest = content
        elif topic == topics.JOINT_COMMANDS:
            self._command = content
        if self._policy is not None:
            self._policy.on_event(event, self._instant(now))
        elif topic == self._plans.source:
            self._take_plan(event, now)
        stage = self._gate
        if stage is None or not stage.gate.active:
            self._begins_episode(event)
            return
        if topic == topics.JOINT_STATES:
            stage.gate.on_joint_state(stage.moved(content), self._instant(now))
        elif topic == topics.FAILURE_PREDICTION and not self._predicts:
            stage.on_prediction(content, self._instant(now))
        elif self._begins_episode(event):
            stage.gate.new_episode(self._instant(now))

    def _take_plan(self, event: Event, now: int) -> None:
        chunk = self._plans.chunk(event, now)
        if chunk is None:
            return
        if self._gate is not None:
            self._gate.on_plan(chunk, self._instant(now))
        self._plan_to_signals(chunk, now)

    def _take_chunk(self, chunk: ActionChunk, state: PolicyState, now: int) -> None:
        """A chunk of the policy that is asked anew."""
        self._out.chunks.append((now, chunk))
        if self._gate is not None:
            self._gate.on_plan(chunk, self._instant(now))
        self._plan_to_signals(chunk, now)
        if self._signals is not None and self._through.signals:
            self._signals.on_policy_state(state)

    def _tick(self, now: int) -> None:
        at, stage = self._instant(now), self._gate
        if self._policy is not None:
            self._policy.advance(at)
        if stage is not None and (stage.gate.active or self._activated(at)):
            stage.ticked(stage.gate.tick(at), at, self._command)
        self._plans.new_tick()
        if self._signals is not None and self._through.signals:
            self._signals.advance(now)

    def _activated(self, at: Instant) -> bool:
        assert self._gate is not None
        return self._newest is not None and self._gate.activate(self._newest, at)
