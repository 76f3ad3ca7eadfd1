"""Watches the running graph by its topics alone, for `salus top`; it publishes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from math import isfinite
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import TransitionEvent
from salus_msgs.msg import (
    ActionChunk,
    FailurePrediction,
    Intervention,
    PolicyState,
    RobotMode,
    Signals,
    SupervisorState,
)
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from salus_ros.cli.top_state import InterventionLine, Stream, TopState
from salus_ros.interface_table import LIFECYCLE_NODES, NODES
from salus_ros.nodes import qos, topics
from salus_ros.nodes.conversions import stamp_of
from salus_ros.nodes.spun_node import SpunNode
from salus_ros.signals.layout import SIGNAL_NAMES
from salus_ros.supervision.modes import Mode

# What the manager says of a node, as a lifecycle state.
MANAGERS_WORDS = {"active": "active", "not active": "inactive", "lost": "lost"}
FACTS = (
    "at_rest",
    "observation_age",
    "plan_deviation",
    "tracking_error",
    "commands_sent",
    "missed_deadlines",
    "chunks_accepted",
    "chunks_rejected",
    "interventions",
    "realtime",
)


class GraphWatch:
    """A context manager; `state` may be read while `lock` is held."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.state = TopState(nodes=NODES)

    def __enter__(self) -> GraphWatch:
        self._spun = SpunNode("salus_top")
        self._node = self._spun.node
        self._subscribe()
        self._spun.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._spun.close()

    def _subscribe(self) -> None:
        for kind, topic, profile, take in (
            (JointState, topics.JOINT_STATES, qos.SENSOR, None),
            (ActionChunk, topics.ACTION_CHUNK, qos.PLAN, None),
            (PolicyState, topics.POLICY_STATE, qos.PLAN, self._on_policy),
            (Signals, topics.SIGNALS, qos.SIGNALS, self._on_signals),
            (FailurePrediction, topics.FAILURE_PREDICTION, qos.SIGNALS, self._on_prediction),
            (JointState, topics.JOINT_COMMANDS, qos.EVERY_COMMAND, None),
            (SupervisorState, topics.SUPERVISOR_STATE, qos.STATE, self._on_state),
        ):
            self._listen(kind, topic, profile, take)
        subscribe = self._node.create_subscription
        subscribe(Header, topics.HEARTBEAT, self._locked(self._on_heartbeat), qos.HEARTBEAT)
        subscribe(Intervention, topics.INTERVENTIONS, self._locked(self._on_act), qos.EVENTS)
        subscribe(RobotMode, topics.ROBOT_MODE, self._locked(self._on_robot), qos.STATE)
        diagnostics = self._locked(self._on_diagnostics)
        subscribe(DiagnosticArray, topics.DIAGNOSTICS, diagnostics, qos.DIAGNOSTICS)
        for node in LIFECYCLE_NODES:
            on_event = self._locked(self._transition_of(node))
            subscribe(TransitionEvent, f"/{node}/transition_event", on_event, qos.SIGNALS)

    def _listen(self, kind: type, topic: str, profile: Any, take: Any) -> None:
        stream = self.state.streams.setdefault(topic, Stream())

        def on_message(message: Any) -> None:
            stream.add(time.monotonic(), self._age(message.header))
            if take is not None:
                take(message)

        self._node.create_subscription(kind, topic, self._locked(on_message), profile)

    def _locked(self, take: Callable[[Any], None]) -> Callable[[Any], None]:
        def call(message: Any) -> None:
            with self.lock:
                take(message)

        return call

    def _age(self, header: Header) -> float:
        return float(self._node.get_clock().now().nanoseconds - stamp_of(header.stamp)) * 1e-9

    # Messages.

    def _on_heartbeat(self, message: Header) -> None:
        stream = self.state.heartbeats.setdefault(message.frame_id, Stream())
        stream.add(time.monotonic(), self._age(message))

    def _transition_of(self, node: str) -> Callable[[TransitionEvent], None]:
        def take(event: TransitionEvent) -> None:
            self.state.lifecycle[node] = event.goal_state.label

        return take

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name in LIFECYCLE_NODES and status.message in MANAGERS_WORDS:
                self.state.lifecycle[status.name] = MANAGERS_WORDS[status.message]

    def _on_policy(self, message: PolicyState) -> None:
        state = self.state
        durations = [float(seconds) for seconds in message.stage_durations]
        state.inference = dict(zip(message.stage_names, durations, strict=False))
        state.inference_time.add(time.monotonic(), sum(durations))
        state.instruction = message.instruction

    def _on_signals(self, message: Signals) -> None:
        for bit, name in enumerate(SIGNAL_NAMES):
            valid = bool(message.valid & (1 << bit))
            self.state.take_signal(name, float(getattr(message, name)), valid)

    def _on_prediction(self, message: FailurePrediction) -> None:
        state, whole = self.state, float(message.episode_failure_probability)
        # Float32 as text has digits that nobody meant.
        horizons = [round(float(h), 3) for h in message.horizons]
        values = [float(p) for p in message.probabilities]
        state.take_prediction(horizons, list(message.failure_types), values)
        state.prediction_valid &= message.valid and isfinite(whole)
        state.episode_failure = whole if state.prediction_valid else 0.0
        state.alarm = message.alarm

    def _on_state(self, message: SupervisorState) -> None:
        self.state.mode = Mode(message.mode).name
        self.state.reasons = list(message.reasons)
        self.state.supervisor = {name: getattr(message, name) for name in FACTS}

    def _on_robot(self, message: RobotMode) -> None:
        self.state.robot = "follows commands" if message.ready else message.text

    def _on_act(self, message: Intervention) -> None:
        moment = datetime.fromtimestamp(stamp_of(message.header.stamp) * 1e-9)
        modes = Mode(message.mode_after).name
        if message.mode_after != message.mode_before:
            modes = f"{Mode(message.mode_before).name} → {modes}"
        line = InterventionLine(f"{moment:%H:%M:%S}", modes, message.reason, message.message)
        self.state.interventions.append(line)
