"""Plans of a recording as chunks, from whichever topic had them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from salus_ros.interfaces import ActionChunk, JointState
from salus_ros.nodes import topics
from salus_ros.replay.event_reader import Event, Malformed, RecordedChunk
from salus_ros.replay.settings import Settings
from salus_ros.supervision.target_stream import TargetStream
from salus_ros.supervision.trajectory_plan import Waypoints, chunk_from_waypoints

# In the order of preference: commands are taken for plans where there is nothing else.
SOURCES = (
    topics.ACTION_CHUNK,
    topics.TRAJECTORY_INPUT,
    topics.TARGET_INPUT,
    topics.JOINT_COMMANDS,
)
TRAJECTORY_SOURCE, TARGET_SOURCE = "joint_trajectory", "joint_targets"


class Plans:
    """Makes chunks of the events of one topic, as the supervisor's node does of its messages.

    source: that topic; empty: the recording has no plans. dims: columns of an action.
    """

    def __init__(self, events: Sequence[Event], settings: Settings) -> None:
        present = {event.topic for event in events}
        self.source = next((topic for topic in SOURCES if topic in present), "")
        self._settings = settings
        self._number = 0
        self._targets = TargetStream(settings.limits, settings.target_age, TARGET_SOURCE)
        self._taken = False
        self.dims = self._dims(events)

    def _dims(self, events: Sequence[Event]) -> int:
        joints = len(self._settings.joint_names)
        for event in events:
            if event.topic == self.source:
                content = event.content
                if isinstance(content, JointState):
                    return joints + (content.gripper is not None)
                if isinstance(content, Waypoints):
                    return len(content.names)
                if isinstance(content.chunk, ActionChunk):
                    return int(content.chunk.actions.shape[1])
        return self._settings.signals.action_dims

    def new_tick(self) -> None:
        """Another target may be taken: one a tick is enough, as in the node."""
        self._taken = False

    def chunk(self, event: Event, now: int) -> ActionChunk | Malformed | None:
        """The chunk of an event that was received at `now` [ns of the stamps' clock].

        None where it is left out.
        """
        content: Any = event.content
        if isinstance(content, RecordedChunk):
            return content.chunk
        if isinstance(content, Waypoints):
            self._number += 1
            return self._of_waypoints(content, now)
        return self._of_target(content, now)

    def _of_waypoints(self, points: Waypoints, now: int) -> ActionChunk | Malformed:
        rows = self._settings.gate.rows_max
        gripper = self._settings.gripper_name
        try:
            return chunk_from_waypoints(points, self._number, now, gripper, rows, TRAJECTORY_SOURCE)
        except ValueError as error:
            return Malformed(TRAJECTORY_SOURCE, self._number, str(error))

    def _of_target(self, target: JointState, now: int) -> ActionChunk | None:
        if self._taken:
            return None
        self._taken = True
        # Commands are stamped with when they are due, a period ahead: a plan must be due by now.
        stamp = min(target.stamp, now) if target.stamp else now
        return self._targets.chunk(replace(target, stamp=stamp))
