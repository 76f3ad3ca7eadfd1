"""Keeps every plan, and every mode and act of the supervisor, that a running graph publishes."""

from __future__ import annotations

from collections import Counter

from salus_msgs.msg import ActionChunk as ActionChunkMessage
from salus_msgs.msg import Intervention, SupervisorState

from salus_ros.interfaces import ActionChunk
from salus_ros.nodes import qos, topics
from salus_ros.nodes.conversions import action_chunk
from salus_ros.nodes.graph_client import GraphClient
from salus_ros.supervision.modes import Mode


class ChunkWatch:
    """chunks: (arrival [ns], chunk); modes: (arrival [ns], name of the mode, its reasons);
    interventions: by reason.
    """

    def __init__(self) -> None:
        self._client: GraphClient | None = None
        self.begin()

    def begin(self) -> None:
        """An episode begins: forget the last one."""
        self.chunks: list[tuple[int, ActionChunk]] = []
        self.modes: list[tuple[int, str, tuple[str, ...]]] = []
        self.interventions: Counter[str] = Counter()

    def listen(self, client: GraphClient) -> None:
        """Subscribe to the plans; the other callbacks are for the client's constructor."""
        self._client = client
        client.node.create_subscription(
            ActionChunkMessage, topics.ACTION_CHUNK, self._on_chunk, qos.SIGNALS
        )

    def now(self) -> int:
        """The ROS clock [ns]; 0 before `listen`."""
        return 0 if self._client is None else int(self._client.node.get_clock().now().nanoseconds)

    def on_state(self, message: SupervisorState) -> None:
        """Keep a mode."""
        self.modes.append((self.now(), Mode(message.mode).name, tuple(message.reasons)))

    def on_intervention(self, message: Intervention) -> None:
        """Count an act."""
        self.interventions[message.reason] += 1

    def _on_chunk(self, message: ActionChunkMessage) -> None:
        self.chunks.append((self.now(), action_chunk(message, (0.0, 1.0))))
