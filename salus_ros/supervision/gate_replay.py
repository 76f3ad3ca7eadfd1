"""Tells a gate again what a trace says that it was told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from salus_ros.interfaces import ActionChunk, JointState
from salus_ros.supervision.arm_kinematics import Tool
from salus_ros.supervision.gate import SafetyGate
from salus_ros.supervision.gate_trace import EventKind, GateEvent
from salus_ros.supervision.limits import ArmLimits, GripperLimits, RobotLimits, VelocityEnvelope
from salus_ros.supervision.robot_guard import RobotReport
from salus_ros.supervision.workspace import Box, Workspace

Teller = Callable[[SafetyGate, GateEvent, Any], object]


def _robot(told: Any) -> RobotReport | None:
    return None if told is None else RobotReport(**told)


def _prediction(gate: SafetyGate, event: GateEvent, _: Any) -> object:
    table, types, horizons, alarm, valid = json.loads(event.text)
    return gate.on_prediction(table, types, horizons, alarm, valid, event.now)


def _malformed(gate: SafetyGate, event: GateEvent, _: Any) -> None:
    source_id, problem = json.loads(event.text)
    gate.on_malformed_chunk(source_id, event.number, problem, event.now)


def _slices(gate: SafetyGate, event: GateEvent, _: Any) -> None:
    for _slice in range(event.number):
        gate.check_slice(event.now)


def _chunk(gate: SafetyGate, event: GateEvent, chunk: ActionChunk) -> object:
    return gate.on_chunk(chunk, event.now, in_slices=event.kind is EventKind.CHUNK)


def _activate(gate: SafetyGate, event: GateEvent, joints: JointState) -> None:
    gate.activate(joints, event.now, _robot(json.loads(event.text).get("robot")))


def _error(gate: SafetyGate, event: GateEvent, _: Any) -> None:
    gate.internal_error(event.text, event.now)


_TELLERS: dict[EventKind, Teller] = {
    EventKind.ACTIVATE: _activate,
    EventKind.DEACTIVATE: lambda gate, _event, _message: gate.deactivate(),
    EventKind.SHUTDOWN: lambda gate, event, _: gate.begin_shutdown(event.now),
    EventKind.JOINTS: lambda gate, event, joints: gate.on_joint_state(joints, event.now),
    EventKind.CHUNK: _chunk,
    EventKind.WHOLE: _chunk,
    EventKind.SLICE: _slices,
    EventKind.MALFORMED: _malformed,
    EventKind.HEARTBEAT: lambda gate, event, _: gate.on_heartbeat(event.text, event.now),
    EventKind.PREDICTION: _prediction,
    EventKind.ENABLE: lambda gate, event, _: gate.on_enable(bool(event.number), event.now),
    EventKind.ROBOT: lambda gate, event, _: gate.on_robot(
        RobotReport(**json.loads(event.text)), event.now
    ),
    EventKind.EPISODE: lambda gate, event, _: gate.new_episode(event.now),
    EventKind.HOLD: lambda gate, event, _: gate.request_hold(bool(event.number), event.now),
    EventKind.STOP: lambda gate, event, _: gate.request_stop(event.now),
    EventKind.ESTOP: lambda gate, event, _: gate.request_estop(event.now, lasts=bool(event.number)),
    EventKind.RELEASE: lambda gate, event, _: gate.release_estop(event.now),
    EventKind.RESET: lambda gate, event, _: gate.request_reset(event.now),
    EventKind.CHANGE: lambda gate, event, _: gate.reconfigure(json.loads(event.text), event.now),
    EventKind.ERROR: _error,
    EventKind.TICK: lambda gate, event, _: gate.tick(event.now),
}


def tell(gate: SafetyGate, event: GateEvent, message: JointState | ActionChunk | None) -> object:
    """Tell the gate what the event says; message: the joint state or chunk that it refers to.

    Returns what the gate answers; GateRefusal where it can't be activated.
    """
    return _TELLERS[event.kind](gate, event, message)


def limits_of(told: dict[str, Any]) -> RobotLimits:
    """Limits as an activation's event tells them."""
    arm, gripper, space = told["arm"], told["gripper"], told["workspace"]
    envelopes = tuple(None if e is None else VelocityEnvelope(**e) for e in arm["envelopes"])
    columns = {name: tuple(values) for name, values in arm.items()}
    return RobotLimits(
        ArmLimits(**columns | {"envelopes": envelopes}),
        None if gripper is None else GripperLimits(**gripper),
        None if space is None else _workspace(space),
    )


def _workspace(told: dict[str, Any]) -> Workspace:
    return Workspace(
        Tool(**told["tool"]), _box(told["box"]), tuple(_box(box) for box in told["forbidden"])
    )


def _box(told: dict[str, Any]) -> Box:
    return Box(told["name"], tuple(told["lower"]), tuple(told["upper"]))
