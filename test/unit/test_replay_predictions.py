"""Predictions made anew reach the gate of a traced replay when the live ones did."""

from __future__ import annotations

import heapq
from functools import cache
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch")

from test_gate_trace import TracedRig
from test_supervision_gate import JOINTS, MIDDLE

from salus_ros.interfaces import Instant, JointState, PolicyState
from salus_ros.nodes import topics
from salus_ros.prediction.predictor import FailurePredictor
from salus_ros.replay.event_reader import Event, RecordedChunk, RecordedState
from salus_ros.replay.gate_stage import GateStage
from salus_ros.replay.lockstep import replay
from salus_ros.replay.outputs import Outputs
from salus_ros.replay.recorded_run import RecordedRun
from salus_ros.replay.settings import load_settings
from salus_ros.replay.trace import trace_of
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.gate_trace import EventKind, GateEvent

MILLISECOND = 1_000_000
TICK, POLL, CHUNK = 10 * MILLISECOND, 20 * MILLISECOND, 300 * MILLISECOND
# Of the first episodes of this rig some predictions are above it, some below.
OFTEN_CROSSED = 0.004


@cache
def settings():
    return load_settings()


def shaky(time):
    return MIDDLE + 0.05 * np.sin(2.0 * time + np.arange(7)) + 0.03 * np.sin(9.0 * time)


class LiveGraph(TracedRig):
    """Signals, predictor, gate and recorder, each of which hears things later than they were said.

    lost: share of the predictions that the gate never hears, and of commands not recorded.
    predictor: of the live graph; None: there is none.
    """

    def __init__(self, seed, predictor, lost=0.1):
        config = GateConfig(slow_probability=OFTEN_CROSSED, observation_age=1.0)
        self.random = np.random.default_rng(seed)
        self.events, self.pending, self.count, self.newest = [], [], count(), {}
        self.monitor, self.predictor = settings().monitor(), predictor
        self.lost = lost
        super().__init__(config=config, plan=shaky)
        self.outputs = Outputs()
        self.stage = GateStage(settings(), config, self.outputs)
        self.stage.gate = self.gate
        self.record(topics.JOINT_STATES, self.joints(), self.now.ros)

    def later(self, channel, now, milliseconds, act):
        """Do it after a while within these bounds; a channel keeps its order."""
        due = max(now + self.within(*milliseconds), self.newest.get(channel, 0))
        self.newest[channel] = due
        heapq.heappush(self.pending, (due, next(self.count), act))

    def within(self, low, high):
        return int(self.random.uniform(low, high) * MILLISECOND)

    def record(self, topic, content, time, latest=80):
        """The recorder is slow: it has this up to so many milliseconds later."""
        heard = max(time + self.within(0, latest), self.newest.get(topic, 0))
        self.newest[topic] = heard
        self.events.append(Event(heard, topic, content))

    def live(self, seconds):
        """Run it; a poll every other tick, a chunk now and then, all heard in the order of time."""
        for k in range(round(seconds * 100)):
            if k % (CHUNK // TICK) == 0:
                self.publish_chunk()
            self.happen(self.now.ros + TICK)
            if k % (POLL // TICK) == 0:
                self.poll(self.now.ros + self.within(0, 9))
            self.one_tick()
        return self

    def happen(self, until):
        while self.pending and self.pending[0][0] < until:
            time, *_, act = heapq.heappop(self.pending)
            act(time)

    def one_tick(self):
        self.pass_time(0.01)
        joints = self.joints()
        self.record(topics.JOINT_STATES, joints, self.now.ros)
        self.later("joints", self.now.ros, (0, 1), lambda _: self.monitor.on_joint_state(joints))
        self.gate.on_joint_state(joints, self.now)
        result = self.gate.tick(self.now)
        self.position, command = result.command.positions, result.command
        self.stage.ticked(result, self.now, None)
        sent = JointState(
            command.stamp, command.positions, command.velocities, np.empty(0), command.gripper
        )
        if self.random.random() >= self.lost:
            self.record(topics.JOINT_COMMANDS, sent, self.now.ros)
        told = sent.stamp, sent.positions
        self.later("commands", self.now.ros, (0, 5), lambda _: self.monitor.on_command(*told))

    def publish_chunk(self):
        chunk, now = self.chunk(age=0.1), self.now.ros
        state = PolicyState(
            "policy", chunk.number, chunk.observation_stamp, "", np.zeros(0), None, (), {}, 3
        )
        self.record(topics.ACTION_CHUNK, RecordedChunk(chunk, None), now)
        self.record(topics.POLICY_STATE, RecordedState(state, None), now)
        self.later("gate", now, (1, 9), lambda time: self.gate.on_chunk(chunk, self.instant(time)))
        self.later("signals", now, (1, 60), lambda time: self.monitor.on_chunk(chunk, time))

    def instant(self, time):
        return Instant(time, time - self.now.ros + self.now.steady)

    def poll(self, now):
        self.happen(now)
        for due in self.monitor.advance(now):
            step = due.step
            ids = step.source_id, step.chunk_number, step.step, step.observation_stamp
            message = SimpleNamespace(source_id=ids[0], chunk_number=ids[1], step=ids[2])
            self.record(topics.SIGNALS, message, now)
            if self.predictor is not None:
                self.publish_prediction(self.predictor.on_signals(*ids, due.signals, 0.1), now)

    def publish_prediction(self, found, now):
        self.record(topics.FAILURE_PREDICTION, found, now)
        if self.random.random() >= self.lost:
            tell = self.stage.on_prediction
            self.later("predictions", now, (5, 45), lambda time: tell(found, self.instant(time)))

    def recording(self):
        """All of it as a bag, in the order of the recorder."""
        told = [GateEvent(e.kind, e.now, e.number, e.text) for e in self.gate.trace.take().events]
        self.events.append(Event(self.now.ros, topics.GATE_TRACE, (0, 0, told)))
        events = sorted(self.events, key=lambda event: event.time)
        return RecordedRun(Path("bag"), events, JOINTS, "panda_gripper", "")


def replayed(run):
    trace = trace_of(run)
    return replay(run, settings().as_recorded(trace.setup), trace=trace)


def decisions(outputs):
    commands = [(c.stamp, c.positions.tobytes(), c.gripper) for c in outputs.commands]
    return commands, outputs.modes, repr(outputs.interventions)


def slowed(outputs):
    return [i for i in outputs.interventions if i.reason == "failure_likely"]


@pytest.mark.parametrize("seed", range(3))
def test_the_gate_decides_as_live_where_predictions_are_made_anew(seed):
    graph = LiveGraph(seed, settings().predictor()).live(6.0)
    assert len(slowed(graph.outputs)) >= 3, "no prediction crossed a threshold"
    assert decisions(replayed(graph.recording())) == decisions(graph.outputs)


@pytest.mark.parametrize("predictor", [None, FailurePredictor()], ids=["none", "no checkpoint"])
def test_a_gate_that_heard_no_prediction_live_hears_those_made_anew(predictor):
    graph = LiveGraph(0, predictor).live(6.0)
    assert not slowed(graph.outputs)
    assert len(slowed(replayed(graph.recording()))) >= 3


def test_a_prediction_that_never_reached_the_gate_does_not_in_a_replay():
    graph = LiveGraph(0, settings().predictor(), lost=1.0).live(6.0)
    assert not slowed(graph.outputs)
    outputs = replayed(graph.recording())
    assert outputs.predictions
    assert decisions(outputs) == decisions(graph.outputs)


def earlier(told, seconds):
    """The trace of a supervisor whose clock is behind: predictions are heard before their steps."""
    early = int(seconds * 1e9)
    for event in told:
        if event.kind is EventKind.PREDICTION:
            now = Instant(event.now.ros - early, event.now.steady - early)
            yield event._replace(now=now)
        else:
            yield event


def test_no_prediction_is_told_before_its_signals_are_there():
    graph = LiveGraph(1, settings().predictor()).live(3.0)
    run = graph.recording()
    (place,) = (i for i, e in enumerate(run.events) if e.topic == topics.GATE_TRACE)
    first, left_out, told = run.events[place].content
    told = sorted(earlier(told, 0.2), key=lambda event: event.now.ros)
    run.events[place] = run.events[place]._replace(content=(first, left_out, told))
    outputs = replayed(run)
    likely = [t for t, p in outputs.predictions if p.probabilities[-1].max() >= OFTEN_CROSSED]
    assert slowed(outputs)[0].stamp.ros >= likely[0]
