"""The graph's plain types as the messages of its topics, serialised without ROS.

The same content as in nodes/conversions.py makes of them, which a test holds against this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import (
    NANOSECONDS,
    ActionChunk,
    FloatArray,
    JointCommand,
    JointState,
    PolicyState,
    seconds,
)
from salus_ros.nodes import topics
from salus_ros.prediction.layout import PredictionResult
from salus_ros.replay.message_types import typestore
from salus_ros.signals.layout import SIGNAL_NAMES
from salus_ros.signals.monitor import StepSignals
from salus_ros.sim.episode import EpisodeStatus
from salus_ros.supervision.gate_state import GateState
from salus_ros.supervision.interventions import Intervention

IMAGE = "sensor_msgs/msg/Image"
STRING = "std_msgs/msg/String"
JOINTS = "sensor_msgs/msg/JointState"
GRIPPER_UNIT_METER = 1


class MessageEncoder:
    """Topic, type and CDR bytes of what the parts of the graph tell each other.

    epoch [ns] is added to every time, as a recording may begin at any.
    """

    def __init__(self, joint_names: tuple[str, ...], gripper_name: str, epoch: int = 0) -> None:
        self._store = typestore()
        self._names, self._gripper = joint_names, gripper_name
        self.epoch = epoch
        self._makers: dict[type, tuple[str, str, Callable[[Any, int], Any]]] = {
            JointState: (topics.JOINT_STATES, JOINTS, self._joint_state),
            JointCommand: (topics.JOINT_COMMANDS, JOINTS, self._command),
            ActionChunk: (topics.ACTION_CHUNK, salus("ActionChunk"), self._chunk),
            PolicyState: (topics.POLICY_STATE, salus("PolicyState"), self._policy_state),
            StepSignals: (topics.SIGNALS, salus("Signals"), self._signals),
            PredictionResult: (
                topics.FAILURE_PREDICTION,
                salus("FailurePrediction"),
                self._prediction,
            ),
            GateState: (topics.SUPERVISOR_STATE, salus("SupervisorState"), self._gate_state),
            Intervention: (topics.INTERVENTIONS, salus("Intervention"), self._intervention),
            EpisodeStatus: (topics.SIM_EPISODE, salus("Episode"), self._episode),
            str: (topics.INSTRUCTION, STRING, lambda text, _: self.message(STRING, data=text)),
        }

    def knows(self, thing: object) -> bool:
        """Whether there is a topic for it."""
        return type(thing) in self._makers

    def encode(self, thing: object, now: int) -> tuple[str, str, bytes]:
        """Topic, type and bytes of a plain object that is published at `now` [ns]."""
        topic, kind, make = self._makers[type(thing)]
        return topic, kind, self.serialise(make(thing, now), kind)

    def image(self, camera: str, image: NDArray[np.uint8], stamp: int) -> tuple[str, str, bytes]:
        """Topic, type and bytes of an image [height, width, 3] RGB."""
        height, width, channels = image.shape
        message = self.message(
            IMAGE,
            header=self._header(stamp, f"{camera}_camera"),
            height=height,
            width=width,
            step=width * channels,
            encoding="rgb8",
            data=image.reshape(-1),
        )
        return topics.CAMERA.format(camera=camera), IMAGE, self.serialise(message, IMAGE)

    def serialise(self, message: Any, kind: str) -> bytes:
        """CDR bytes of rosbags' form of a message."""
        return bytes(self._store.serialize_cdr(message, kind))

    def message(self, kind: str, /, **fields: Any) -> Any:
        """A message; fields that aren't given are zero or empty."""
        for name, description in self._store.fielddefs[kind][1]:
            if name not in fields:
                fields[name] = self._empty(description)
        return self._store.types[kind](**fields)

    def _empty(self, description: Any) -> Any:
        form, detail = int(description[0]), description[1]
        if form == 2:  # A message.
            return self.message(detail)
        if form != 1:  # An array: all of them are sequences here.
            element, kind = int(detail[0][0]), detail[0][1]
            return [] if element == 2 or kind[0] == "string" else np.empty(0, kind[0])
        return {"string": "", "bool": False}.get(detail[0], 0)

    def _time(self, stamp: int) -> Any:
        whole, rest = divmod(stamp + self.epoch, NANOSECONDS)
        return self._store.types["builtin_interfaces/msg/Time"](sec=whole, nanosec=rest)

    def _header(self, stamp: int, frame: str = "") -> Any:
        kind = self._store.types["std_msgs/msg/Header"]
        return kind(stamp=self._time(stamp), frame_id=frame)

    def _joints(
        self, stamp: int, columns: tuple[FloatArray, FloatArray, FloatArray], gripper: float | None
    ) -> Any:
        """position, velocity and effort, with the gripper as the last joint."""
        names = self._names if gripper is None else (*self._names, self._gripper)
        last = [] if gripper is None else [[gripper], [0.0], [0.0]]
        if last:
            columns = tuple(  # type: ignore[assignment]
                np.append(c, extra) if c.size else c for c, extra in zip(columns, last, strict=True)
            )
        position, velocity, effort = columns
        return self._store.types[JOINTS](
            header=self._header(stamp),
            name=list(names),
            position=position,
            velocity=velocity,
            effort=effort,
        )

    def _joint_state(self, state: JointState, _: int) -> Any:
        columns = state.positions, state.velocities, state.efforts
        return self._joints(state.stamp, columns, state.gripper)

    def _command(self, command: JointCommand, _: int) -> Any:
        columns = command.positions, command.velocities, np.empty(0)
        return self._joints(command.stamp, columns, command.gripper)

    def _chunk(self, chunk: ActionChunk, _: int) -> Any:
        return self.message(
            salus("ActionChunk"),
            header=self._header(chunk.observation_stamp),
            source_id=chunk.source_id,
            chunk_number=chunk.number,
            joint_names=list(chunk.joint_names),
            gripper_name=chunk.gripper_name,
            gripper_unit=GRIPPER_UNIT_METER if chunk.gripper_name else 0,
            start_time=self._time(chunk.start_time),
            time_step=seconds(chunk.time_step),
            actions=chunk.actions.ravel(),
            first_fresh_step=chunk.first_fresh_step,
            execution_horizon=chunk.execution_horizon,
        )

    def _policy_state(self, state: PolicyState, _: int) -> Any:
        distribution = state.distribution
        known = {} if distribution is None else _distribution_fields(distribution)
        return self.message(
            salus("PolicyState"),
            header=self._header(state.observation_stamp),
            source_id=state.source_id,
            chunk_number=state.chunk_number,
            instruction=state.instruction,
            latent=state.latent,
            exit_routes=[e.route for e in state.exits],
            exit_layers=np.array([e.layer for e in state.exits], np.int16),
            exit_ratios=np.array([e.ratio for e in state.exits], np.float32),
            stage_names=list(state.stage_seconds),
            stage_durations=np.array(list(state.stage_seconds.values()), np.float32),
            inference_delay_steps=state.inference_delay_steps,
            **known,
        )

    def _signals(self, due: StepSignals, _: int) -> Any:
        step = due.step
        return self.message(
            salus("Signals"),
            header=self._header(step.observation_stamp),
            source_id=step.source_id,
            chunk_number=step.chunk_number,
            step=step.step,
            execution_time=self._time(step.execution_time),
            valid=int(due.signals.valid),
            **dict(zip(SIGNAL_NAMES, map(float, due.signals.values), strict=True)),
        )

    def _prediction(self, result: PredictionResult, _: int) -> Any:
        names = ("source_id", "chunk_number", "step", "valid", "alarm")
        numbers = ("episode_failure_probability", "episode_score", "alarm_threshold")
        return self.message(
            salus("FailurePrediction"),
            header=self._header(result.observation_stamp),
            horizons=np.array(result.horizons, np.float32),
            failure_types=list(result.failure_types),
            probabilities=result.probabilities.ravel(),
            **{name: getattr(result, name) for name in (*names, *numbers)},
        )

    def _gate_state(self, state: GateState, now: int) -> Any:
        kind = salus("SupervisorState")
        fields = {name: None for name, _ in self._store.fielddefs[kind][1]}
        known = {name: getattr(state, name) for name in fields if hasattr(state, name)}
        known |= {"mode": int(state.mode), "reasons": list(state.reasons)}
        return self.message(kind, header=self._header(now), **known)

    def _intervention(self, record: Intervention, _: int) -> Any:
        names = ("sequence", "reason", "message", "source_id", "chunk_number", "count")
        return self.message(
            salus("Intervention"),
            header=self._header(record.stamp.ros),
            mode_before=int(record.mode_before),
            mode_after=int(record.mode_after),
            kind=int(record.kind),
            value=float(record.value),
            bound=float(record.bound),
            worst_value=float(record.worst_value),
            **{name: getattr(record, name) for name in names},
        )

    def _episode(self, status: EpisodeStatus, now: int) -> Any:
        values = {**asdict(status), "phase": int(status.phase)}
        return self.message(salus("Episode"), header=self._header(now), **values)


def salus(name: str) -> str:
    """The full name of a type of salus_msgs."""
    return f"salus_msgs/msg/{name}"


def _distribution_fields(distribution: Any) -> dict[str, Any]:
    return {
        "distribution_samples": distribution.samples,
        "softmax_entropy": distribution.softmax_entropy,
        "max_softmax_prob": distribution.max_softmax_prob,
    }
