"""What the metadata of a rollout's bag says of its episode, besides the messages in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from salus_ros.replay.bag_writer import METADATA, read_metadata
from salus_ros.replay.errors import BagError

EPISODE_KEY = "salus_episode"


def custom_data(entry: Mapping[str, Any]) -> dict[str, str]:
    """The entry as custom_data of metadata.yaml."""
    return {EPISODE_KEY: json.dumps(entry)}


def described(folder: Path) -> dict[str, Any] | None:
    """The entry of a bag; None where it has none. Raises BagError for a damaged metadata.yaml."""
    try:
        content = read_metadata(folder)
        custom = content["rosbag2_bagfile_information"].get("custom_data") or {}
        text = custom.get(EPISODE_KEY)
        return None if text is None else dict(json.loads(text))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise BagError(f"{folder / METADATA} can't be read ({error})") from None


def rolled_out(bag: Path) -> bool:
    """Whether `salus record rollouts` made the bag."""
    return (bag / METADATA).is_file() and described(bag) is not None
