"""What a gate was told is enough to work its decisions out again, to the bit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_supervision_gate import MIDDLE, Rig, panda

from salus_ros.interfaces import ActionChunk, JointState
from salus_ros.resources import CHECKOUT
from salus_ros.supervision.config import GateConfig
from salus_ros.supervision.gate import SafetyGate
from salus_ros.supervision.gate_replay import limits_of, tell
from salus_ros.supervision.gate_trace import CHUNKS, WITH_TEXT, EventKind, GateEvent, TracedGate
from salus_ros.supervision.robot_guard import RobotReport
from salus_ros.supervision.workspace import load_workspace

ACTS = (
    "chunk",
    "slices",
    "jump",
    "malformed",
    "hold",
    "release",
    "stop",
    "estop",
    "reset",
    "episode",
    "enable",
    "robot",
    "slower",
    "likely",
    "late",
    "blind",
    "error",
)


class TracedRig(Rig):
    """Remembers the messages, as a bag does."""

    def __post_init__(self):
        super().__post_init__()
        self.messages: dict[object, JointState | ActionChunk] = {}
        self.gate = TracedGate(self.config, self.limits)
        self.gate.activate(self.joints(), self.now)

    def joints(self):
        joints = super().joints()
        if hasattr(self, "messages"):
            self.messages[joints.stamp] = joints
        return joints

    def chunk(self, **changes):
        chunk = super().chunk(**changes)
        self.messages[chunk.source_id, chunk.number] = chunk
        return chunk

    def act(self, name):
        gate, now = self.gate, self.now
        if name == "chunk":
            gate.on_chunk(self.chunk(), now, in_slices=True)
        elif name == "slices":
            for _ in range(5):
                gate.check_slice(now)
        elif name == "jump":
            gate.on_chunk(self.chunk(actions=np.full((30, 8), 0.05)), now, in_slices=True)
        elif name == "malformed":
            gate.on_malformed_chunk("policy", 7, "3 actions don't divide into rows of 8", now)
        elif name in ("hold", "release"):
            gate.request_hold(name == "hold", now)
        elif name == "slower":
            gate.reconfigure({"slow_factor": 0.4}, now)
        elif name == "likely":
            gate.on_prediction([[0.1], [0.2], [0.65]], ["drop"], [0.2, 0.3, 0.5], False, True, now)
        elif name == "late":
            self.pass_time(0.04)
        elif name == "blind":
            self.send_joints = not self.send_joints
        else:
            self.request(name)

    def request(self, name):
        gate, now = self.gate, self.now
        {
            "stop": gate.request_stop,
            "estop": lambda at: gate.request_estop(at, lasts=False),
            "reset": gate.request_reset,
            "episode": gate.new_episode,
            "enable": lambda at: gate.on_enable(True, at),
            "robot": lambda at: gate.on_robot(RobotReport(True, "move"), at),
            "error": lambda at: gate.internal_error("KeyError: 'x'", at),
        }[name](now)


def told_again(events, messages):
    """Commands and interventions of a gate that is made from the trace and told it all."""
    setup = json.loads(events[0].text)
    gate = SafetyGate(GateConfig(**setup["config"]), limits_of(setup["limits"]))
    commands = []
    for event in events:
        key = (event.text, event.number) if event.kind in CHUNKS else event.number
        answer = tell(gate, event, messages.get(key))
        if event.kind is EventKind.TICK:
            commands.append(answer.command)
    return commands, gate.drain_interventions()


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(ACTS), st.integers(1, 40)), min_size=3, max_size=15),
    st.booleans(),
)
def test_commands_and_interventions_follow_from_the_trace(acts, guarded):
    limits = panda()
    if guarded:
        space = load_workspace(CHECKOUT / "config" / "panda_workspace.yaml")
        limits = type(limits)(limits.arm, limits.gripper, space)
    rig = TracedRig(limits=limits, plan=lambda time: MIDDLE + 0.1 * np.sin(time) * np.ones(7))
    rig.run(0.9)
    for name, ticks in acts:
        rig.act(name)
        for _ in range(ticks):
            rig.tick()
    events = [GateEvent(e.kind, e.now, e.number, e.text) for e in rig.gate.trace.take().events]
    commands, interventions = told_again(events, rig.messages)
    assert len(commands) == len(rig.results)
    for again, result in zip(commands, rig.results, strict=True):
        assert again.stamp == result.command.stamp
        for name in ("positions", "velocities", "accelerations"):
            assert getattr(again, name).tobytes() == getattr(result.command, name).tobytes()
        assert again.gripper == result.command.gripper
    assert repr(interventions) == repr(rig.gate.drain_interventions())


def test_the_message_names_the_same_kinds():
    text = (Path(CHECKOUT) / "msg" / "GateTrace.msg").read_text()
    told = {name: int(value) for name, value in re.findall(r"uint8 KIND_(\w+)=(\d+)", text)}
    assert told == {kind.name: kind.value for kind in EventKind}
    with_text = {
        name for name, rest in re.findall(r"uint8 KIND_(\w+)=\d+ *(.*)", text) if "text" in rest
    }
    assert with_text == {kind.name for kind in WITH_TEXT}


def test_a_trace_that_nobody_takes_does_not_grow_and_says_so():
    rig = TracedRig()
    for _ in range(10_050):
        rig.gate.on_heartbeat("x", rig.now)
    part = rig.gate.trace.take()
    assert len(part.events) == 10_000 and part.left_out == 51
    rig.tick()
    assert rig.gate.trace.take().first == 10_051
