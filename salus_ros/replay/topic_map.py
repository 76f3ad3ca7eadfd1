"""Where a bag has what the graph has on its own topics, and how its joints are called: a YAML file.

    topics:
      /joint_states: /franka/joint_states
      /joint_commands: /arm_controller/joint_trajectory
      /camera/front/image_raw: /wrist/color/image_raw/compressed
    joints: {panda_joint1: fr3_joint1, panda_gripper: finger_width}

On the left are the names of the graph and of its robot, on the right those of the bag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salus_ros.nodes import topics
from salus_ros.replay.errors import BagError
from salus_ros.supervision.errors import LimitsError
from salus_ros.supervision.yaml_file import read_yaml

# Topics of the graph that replay reads, but for cameras.
READ = (
    topics.JOINT_STATES,
    topics.JOINT_COMMANDS,
    topics.ACTION_CHUNK,
    topics.TRAJECTORY_INPUT,
    topics.TARGET_INPUT,
    topics.POLICY_STATE,
    topics.SIGNALS,
    topics.FAILURE_PREDICTION,
    topics.SUPERVISOR_STATE,
    topics.INTERVENTIONS,
    topics.GATE_TRACE,
    topics.INSTRUCTION,
    topics.SIM_EPISODE,
    topics.EPISODE_LABEL,
    topics.SIM_BLOCKS,
)
CAMERA_BEGIN, CAMERA_END = topics.CAMERA.split("{camera}")


def camera_of(topic: str) -> str:
    """The camera's name of an image topic of the graph; empty: it is none."""
    if not (topic.startswith(CAMERA_BEGIN) and topic.endswith(CAMERA_END)):
        return ""
    return topic[len(CAMERA_BEGIN) : -len(CAMERA_END)]


@dataclass(frozen=True)
class TopicMap:
    """topics: the bag's by the graph's; what isn't named is called the same. joints: likewise."""

    topics: Mapping[str, str] = field(default_factory=dict)
    joints: Mapping[str, str] = field(default_factory=dict)

    def bag_topic(self, topic: str) -> str:
        """What the bag calls a topic of the graph."""
        return self.topics.get(topic, topic)

    def roles(self, present: Mapping[str, Any]) -> dict[str, str]:
        """The graph's name of each topic of a bag that is of use."""
        named = {self.bag_topic(topic): topic for topic in READ}
        found = {topic: named[topic] for topic in present if topic in named}
        taken = {bag: topic for topic, bag in self.topics.items() if camera_of(topic)}
        for topic in present:
            if topic in taken:
                found[topic] = taken[topic]
            elif camera_of(topic) and topic not in self.topics:
                found[topic] = topic
        return found

    def bag_joint(self, name: str) -> str:
        """What the bag calls a joint of the robot."""
        return self.joints.get(name, name)

    def own_joint(self, name: str) -> str:
        """What the robot's configuration calls a joint of the bag."""
        return next((own for own, bag in self.joints.items() if bag == name), name)


def load_topic_map(path: Path) -> TopicMap:
    """Read the file. Raises BagError, one line, where it can't be read or used."""
    try:
        content = read_yaml(path)
    except LimitsError as error:
        raise BagError(error) from None
    if not isinstance(content, Mapping) or set(content) - {"topics", "joints"}:
        raise BagError(f"{path}: give a mapping with topics and joints, no other key")
    found = {}
    for key in ("topics", "joints"):
        found[key] = _names(path, key, content.get(key) or {})
    unknown = [t for t in found["topics"] if t not in READ and not camera_of(t)]
    if unknown:
        raise BagError(f"{path}: {unknown[0]} is no topic that is read: {', '.join(READ)}, cameras")
    return TopicMap(found["topics"], found["joints"])


def _names(path: Path, key: str, content: Any) -> dict[str, str]:
    if not isinstance(content, Mapping) or not all(
        isinstance(own, str) and isinstance(bag, str) and own and bag
        for own, bag in content.items()
    ):
        raise BagError(f"{path}: {key} is {content!r}: give the graph's names with the bag's")
    twice = {bag for bag in content.values() if list(content.values()).count(bag) > 1}
    if twice:
        raise BagError(f"{path}: {key}: {sorted(twice)[0]} stands for several")
    return dict(content)
