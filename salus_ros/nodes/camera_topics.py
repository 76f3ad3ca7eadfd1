"""Which topic each camera is on, where it isn't the usual one."""

from __future__ import annotations

import re
from collections.abc import Container

TOPIC = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


def chosen_topics(text: str, cameras: Container[str]) -> dict[str, str]:
    """Topics by camera from `front=/a/image, wrist=/b/image`; empty text: none.

    cameras: those that the policy has. Raises ValueError, one line.
    """
    chosen: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, topic = (part.strip() for part in entry.partition("="))
        if not TOPIC.fullmatch(topic):
            raise ValueError(f"'{entry}' is no camera=topic, such as front=/zed/rgb/image")
        if name not in cameras:
            raise ValueError(f"the policy has no camera '{name}'")
        if name in chosen:
            raise ValueError(f"camera '{name}' has two topics")
        chosen[name] = topic
    return chosen
