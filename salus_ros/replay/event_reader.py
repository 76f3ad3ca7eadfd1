"""Messages of a bag as plain types, by the graph's names of topics and joints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from salus_ros import message_reading
from salus_ros.interfaces import ActionChunk, Instant, JointState, PolicyState, nanoseconds
from salus_ros.nodes import topics
from salus_ros.prediction.layout import PredictionResult
from salus_ros.replay import columns
from salus_ros.replay.alike import Group, groups
from salus_ros.replay.bag_reader import RawMessage
from salus_ros.replay.columns import RecordedGateState, RecordedSignals
from salus_ros.replay.errors import BagError
from salus_ros.replay.image_files import decoded_image
from salus_ros.replay.messages import IMAGE, JOINTS, salus
from salus_ros.replay.topic_map import TopicMap, camera_of
from salus_ros.supervision.gate_trace import WITH_TEXT, EventKind, GateEvent
from salus_ros.supervision.trajectory_plan import Waypoints

COMPRESSED_IMAGE: Final = "sensor_msgs/msg/CompressedImage"
TRAJECTORY: Final = "trajectory_msgs/msg/JointTrajectory"
# Of a recorded trajectory.
POINTS_MAX: Final = 100_000


class Event(NamedTuple):
    """One message: when it was received [ns], the graph's name of its topic, and what it says."""

    time: int
    topic: str
    content: Any


class Malformed(NamedTuple):
    """A chunk that can't be read, as the gate is told of it."""

    source_id: str
    number: int
    problem: str


class RecordedChunk(NamedTuple):
    """A chunk, and the message that it was."""

    chunk: ActionChunk | Malformed
    message: Any


class RecordedState(NamedTuple):
    """A policy's state, and the message that it was."""

    state: PolicyState
    message: Any


class EventReader:
    """Turns messages into events, and remembers what can't be."""

    def __init__(
        self,
        topic_map: TopicMap,
        joint_names: tuple[str, ...],
        gripper_name: str,
        gripper_range: tuple[float, float],
        images: bool,
    ) -> None:
        self._map, self._images = topic_map, images
        self._names, self._gripper, self._range = joint_names, gripper_name, gripper_range
        bag_names = [topic_map.bag_joint(name) for name in joint_names]
        self._bag_names, self._bag_gripper = tuple(bag_names), topic_map.bag_joint(gripper_name)
        self.problems: dict[str, str] = {}
        self._roles: dict[str, str] = {}
        self._readers: Mapping[str, Callable[[RawMessage], Any]] = {
            topics.JOINT_STATES: self._joint_state,
            topics.JOINT_COMMANDS: self._command,
            topics.TARGET_INPUT: self._joint_state,
            topics.TRAJECTORY_INPUT: self._trajectory,
            topics.ACTION_CHUNK: self._chunk,
            topics.POLICY_STATE: _policy_state,
            topics.SIGNALS: lambda raw: _signals(raw.message()),
            topics.FAILURE_PREDICTION: lambda raw: prediction(raw.message()),
            topics.SUPERVISOR_STATE: lambda raw: _gate_state(raw.message()),
            topics.INSTRUCTION: lambda raw: str(raw.message().data),
            topics.GATE_TRACE: lambda raw: trace_events(raw.message()),
        }
        # Topics with many messages that are alike, and of which type.
        self._group_readers: Mapping[tuple[str, str], Callable[[Group], Sequence[Any]]] = {
            (topics.JOINT_STATES, JOINTS): self._joint_states,
            (topics.JOINT_COMMANDS, JOINTS): self._joint_states,
            (topics.TARGET_INPUT, JOINTS): self._joint_states,
            (topics.SIGNALS, salus("Signals")): columns.signals,
            (topics.FAILURE_PREDICTION, salus("FailurePrediction")): columns.predictions,
            (topics.SUPERVISOR_STATE, salus("SupervisorState")): columns.gate_states,
        }

    def wanted(self, present: Mapping[str, str]) -> set[str]:
        """Topics of the bag that are read, of those present with their types."""
        self._roles = self._map.roles(present)
        if topics.JOINT_STATES not in self._roles.values():
            raise BagError(self._no_joint_states(present))
        return {bag for bag, role in self._roles.items() if self._images or not _seen(role)}

    def _no_joint_states(self, present: Mapping[str, str]) -> str:
        name = self._map.bag_topic(topics.JOINT_STATES)
        others = sorted(topic for topic, kind in present.items() if kind == JOINTS)
        if len(others) > 1:
            return f"no {name}, but those of several: {', '.join(others)}: name one (--topics)"
        if others:
            return f"no {name}; {others[0]} has joint states: map it (--topics)"
        return f"no {name}, and nothing else with joint states"

    def events(self, messages: Sequence[RawMessage]) -> list[Event]:
        """The events of messages, in their order; those that can't be read are left out."""
        by_topic: dict[str, list[int]] = {}
        for place, raw in enumerate(messages):
            by_topic.setdefault(raw.topic, []).append(place)
        found: list[Event | None] = [None] * len(messages)
        for topic, places in by_topic.items():
            role, told = self._roles[topic], [messages[place] for place in places]
            for index, content in self._contents(role, told):
                found[places[index]] = Event(told[index].time, role, content)
        return [event for event in found if event is not None]

    def _contents(self, role: str, messages: Sequence[RawMessage]) -> Iterable[tuple[int, Any]]:
        """What the messages of a topic say, each with its place among them."""
        first = messages[0]
        together = self._group_readers.get((role, first.kind))
        alone: list[int] = list(range(len(messages)))
        if together is not None:
            parts, alone = groups([raw.data for raw in messages], first.kind, first.store)
            for part in parts:
                try:
                    yield from zip(part.places, together(part), strict=True)
                except (ValueError, KeyError):
                    alone = [*alone, *part.places]
        for place in sorted(alone):
            content = self._content(role, messages[place])
            if content is not None:
                yield place, content

    def _content(self, role: str, raw: RawMessage) -> Any | None:
        """What one message says; None where it can't be read."""
        read = image_of if camera_of(role) else self._readers.get(role)
        try:
            return raw.message() if read is None else read(raw)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            self.problems.setdefault(role, " ".join(str(error).split()))
            return None

    def _joint_state(self, raw: RawMessage) -> JointState:
        if raw.kind != JOINTS:
            raise ValueError(f"{raw.topic} is of type {raw.kind}: {JOINTS} is needed")
        return message_reading.joint_state(raw.message(), self._bag_names, self._bag_gripper)

    def _joint_states(self, group: Group) -> list[JointState]:
        return columns.joint_states(group, self._bag_names, self._bag_gripper)

    def _command(self, raw: RawMessage) -> JointState:
        """Commands as joint states; a trajectory's is its last point, when it is due."""
        if raw.kind == JOINTS:
            return self._joint_state(raw)
        if raw.kind != TRAJECTORY:
            raise ValueError(f"{raw.topic} is of type {raw.kind}: {JOINTS} or {TRAJECTORY}")
        return self._end(self._trajectory(raw))

    def _end(self, points: Waypoints) -> JointState:
        place = {name: column for column, name in enumerate(points.names)}
        missing = [name for name in self._names if name not in place]
        if missing:
            raise ValueError(f"trajectory lacks {', '.join(missing)}; it has {list(points.names)}")
        order = [place[name] for name in self._names]
        speeds = np.empty(0) if points.velocities is None else points.velocities[-1][order]
        due = points.stamp + nanoseconds(float(points.times[-1])) if points.stamp else 0
        return JointState(due, points.positions[-1][order], speeds, np.empty(0))

    def _trajectory(self, raw: RawMessage) -> Waypoints:
        points = message_reading.waypoints(raw.message(), POINTS_MAX)
        names = tuple(self._map.own_joint(name) for name in points.names)
        return Waypoints(points.stamp, names, points.times, points.positions, points.velocities)

    def _chunk(self, raw: RawMessage) -> RecordedChunk:
        message = raw.message()
        message.joint_names = [self._map.own_joint(name) for name in message.joint_names]
        try:
            return RecordedChunk(message_reading.action_chunk(message, self._range), message)
        except ValueError as error:
            malformed = Malformed(message.source_id, message.chunk_number, str(error))
            return RecordedChunk(malformed, message)


def image_of(raw: RawMessage) -> tuple[NDArray[np.uint8], int]:
    """An image [height, width, 3] RGB and its stamp [ns]. Raises ValueError, one line."""
    message = raw.message()
    stamp = message_reading.stamp_of(message.header.stamp)
    if raw.kind == IMAGE:
        return message_reading.image_array(message), stamp
    if raw.kind == COMPRESSED_IMAGE:
        return decoded_image(bytes(message.data)), stamp
    raise ValueError(f"{raw.topic} is of type {raw.kind}: {IMAGE} or {COMPRESSED_IMAGE}")


def _seen(role: str) -> bool:
    """Whether only a policy sees this."""
    return bool(camera_of(role)) or role == topics.SIM_BLOCKS


def _policy_state(raw: RawMessage) -> RecordedState:
    message = raw.message()
    return RecordedState(message_reading.policy_state(message), message)


def _signals(message: Any) -> RecordedSignals:
    stamp = message_reading.stamp_of(message.header.stamp)
    ids = message.source_id, message.chunk_number, message.step, stamp
    return RecordedSignals(*ids, message_reading.signal_vector(message))


def _gate_state(message: Any) -> RecordedGateState:
    stamp = message_reading.stamp_of(message.header.stamp)
    return RecordedGateState(stamp, float(message.observation_age))


def prediction(message: Any) -> PredictionResult:
    """A recorded prediction. Raises ValueError where its table has another size than it says."""
    horizons, types = tuple(map(float, message.horizons)), tuple(message.failure_types)
    return PredictionResult(
        source_id=message.source_id,
        chunk_number=message.chunk_number,
        step=message.step,
        observation_stamp=message_reading.stamp_of(message.header.stamp),
        valid=bool(message.valid),
        horizons=horizons,
        failure_types=types,
        probabilities=np.array(message.probabilities).reshape(len(horizons), len(types)),
        episode_failure_probability=message.episode_failure_probability,
        episode_score=message.episode_score,
        alarm_threshold=message.alarm_threshold,
        alarm=bool(message.alarm),
    )


def trace_events(message: Any) -> tuple[int, int, list[GateEvent]]:
    """A part of the gate's trace: number of its first event, events left out before, the events."""
    texts = iter(message.texts)
    kinds = [EventKind(int(kind)) for kind in message.kinds]
    columns = (np.asarray(c).tolist() for c in (message.ros_times, message.steady_times))
    numbers = np.asarray(message.numbers).tolist()
    return (
        int(message.first),
        int(message.left_out),
        [
            GateEvent(kind, Instant(ros, steady), number, next(texts) if kind in WITH_TEXT else "")
            for kind, ros, steady, number in zip(kinds, *columns, numbers, strict=True)
        ],
    )
