"""The quality of service that a topic was published with, as rosbag2 writes it down."""

from __future__ import annotations

from typing import Any

from salus_ros.nodes import topics

# rmw's infinite duration.
_FOREVER = {"sec": 9223372036, "nsec": 854775807}


def offered_qos(
    reliable: bool = True, transient_local: bool = False, depth: int = 1
) -> dict[str, Any]:
    """One profile of metadata.yaml; `ros2 bag play` publishes with it."""
    return {
        "history": "keep_last",
        "depth": depth,
        "reliability": "reliable" if reliable else "best_effort",
        "durability": "transient_local" if transient_local else "volatile",
        "deadline": dict(_FOREVER),
        "lifespan": dict(_FOREVER),
        "liveliness": "automatic",
        "liveliness_lease_duration": dict(_FOREVER),
        "avoid_ros_namespace_conventions": False,
    }


_LATCHED = {topics.INSTRUCTION: 1, topics.SUPERVISOR_STATE: 1}
_EVENTS = {topics.INTERVENTIONS: 100, topics.SIM_EPISODE: 100}


def qos_of_graph(topic: str) -> dict[str, Any]:
    """Of the graph's own topics (see nodes/qos.py), for those who publish none."""
    late = {**_LATCHED, **_EVENTS}
    if topic in late:
        return offered_qos(transient_local=True, depth=late[topic])
    sensor = topic == topics.JOINT_STATES or topic.startswith("/camera/")
    return offered_qos(reliable=not sensor)
