"""What a bag says of each topic, and one recorded message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of a bag: number from 1, type as in "std_msgs/msg/String", and what it looks like.

    definition: the type's .msg text with those it needs; digest: its RIHS01 hash. qos: the offered
    profiles as rosbag2 writes them.
    """

    number: int
    name: str
    type: str
    definition: str
    digest: str
    qos: tuple[dict[str, Any], ...] = ()


class Message(NamedTuple):
    """One message: its topic's number, when it was received [ns], its CDR bytes."""

    topic: int
    time: int
    data: bytes
