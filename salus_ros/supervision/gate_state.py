"""What the gate hands out: a tick's result, and snapshots of its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from salus_ros.interfaces import JointCommand
from salus_ros.supervision.modes import Mode
from salus_ros.supervision.motion import Step
from salus_ros.supervision.prediction_gate import Requests

# Interventions of these reasons ask for something, and change no mode.
RETRY_REQUESTED, HUMAN_REQUESTED = "retry_requested", "human_requested"
NEW_EPISODE: Final = "new_episode"
REQUEST_REASONS: Final = frozenset({RETRY_REQUESTED, HUMAN_REQUESTED})


class TickResult(NamedTuple):
    """One tick: the command, the mode and its causes' names, how the sample came about.

    late: this tick missed its deadline. lag: how far the command is behind its plan [ns]. requests:
    for a retry or a human.
    """

    command: JointCommand
    mode: Mode
    reasons: tuple[str, ...]
    step: Step
    late: bool
    lag: int
    requests: Requests


@dataclass(frozen=True, slots=True)
class GateState:
    """Snapshot, field by field as in msg/SupervisorState.msg (`realtime` is the node's)."""

    mode: Mode
    reasons: tuple[str, ...]
    text: str
    at_rest: bool
    source_id: str
    chunk_number: int
    plan_step: int
    observation_age: float
    plan_deviation: float
    tracking_error: float
    commands_sent: int
    missed_deadlines: int
    chunks_accepted: int
    chunks_rejected: int
    interventions: int
    requests: Requests
