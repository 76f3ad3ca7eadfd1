"""What a replay brings forth, gathered in order, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from salus_ros.interfaces import ActionChunk, FloatArray, JointCommand, JointState
from salus_ros.prediction.layout import PredictionResult
from salus_ros.signals.monitor import StepSignals
from salus_ros.supervision.gate_state import GateState
from salus_ros.supervision.interventions import Intervention
from salus_ros.supervision.modes import Mode


@dataclass
class Outputs:
    """One list for each kind; times are on the ROS clock of the recording [ns].

    ticks, modes, commands, joint_ages [s]: one a tick. recorded: the recorded command of that
    tick; None: there is none. plans: source and number of the chunk that was followed. chunks: of
    a policy that was asked anew. refusals: why the gate couldn't be activated, and when.
    unmatched: messages that the trace refers to and the bag lacks.
    """

    ticks: list[int] = field(default_factory=list)
    modes: list[Mode] = field(default_factory=list)
    commands: list[JointCommand] = field(default_factory=list)
    joint_ages: list[float] = field(default_factory=list)
    recorded: list[JointState | None] = field(default_factory=list)
    plans: list[tuple[str, int]] = field(default_factory=list)
    interventions: list[Intervention] = field(default_factory=list)
    states: list[tuple[int, GateState]] = field(default_factory=list)
    steps: list[tuple[int, StepSignals]] = field(default_factory=list)
    predictions: list[tuple[int, PredictionResult]] = field(default_factory=list)
    chunks: list[tuple[int, ActionChunk]] = field(default_factory=list)
    refusals: list[tuple[int, str]] = field(default_factory=list)
    unmatched: int = 0
    # Why the policy that was asked anew made no plan at all; empty: it made some.
    policy_problem: str = ""
    # Where plans came from: a topic of the graph; empty: there were none.
    plans_from: str = ""
    # "trace": the gate was told what it was told live; "commands", "grid": what gave the ticks.
    ticks_from: str = ""

    def positions(self) -> FloatArray:
        """Commanded positions [ticks, joints] rad."""
        return np.array([command.positions for command in self.commands])

    def fingerprint(self) -> str:
        """SHA-256 of all of it, bit by bit."""
        digest = hashlib.sha256()
        for part in self._parts():
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.hexdigest()

    def _parts(self) -> Iterator[bytes]:
        yield np.array(self.ticks, np.int64).tobytes()
        yield np.array(self.modes, np.uint8).tobytes()
        yield np.array([command.stamp for command in self.commands], np.int64).tobytes()
        for name in ("positions", "velocities", "accelerations"):
            yield np.array([getattr(command, name) for command in self.commands]).tobytes()
        widths = [np.nan if c.gripper is None else c.gripper for c in self.commands]
        yield np.array(widths).tobytes()
        for time, chunk in self.chunks:
            yield np.array([time, chunk.number, chunk.start_time], np.int64).tobytes()
            yield chunk.actions.tobytes()
        yield repr(self.interventions).encode()
        yield repr(self.states).encode()
        yield repr(self.refusals).encode()
        yield np.array([s.signals.values for _, s in self.steps], np.float32).tobytes()
        yield np.array(
            [(t, s.step.chunk_number, s.step.step, s.signals.valid) for t, s in self.steps],
            np.int64,
        ).tobytes()
        yield np.array([p.probabilities for _, p in self.predictions], np.float32).tobytes()
        yield np.array([(p.alarm, p.valid) for _, p in self.predictions], np.uint8).tobytes()
        yield np.array([p.episode_score for _, p in self.predictions]).tobytes()
