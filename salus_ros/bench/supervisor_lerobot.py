"""Recorded episodes from a LeRobot data set (v2.0, v2.1, v3.0): its actions, without LeRobot.

Read are meta/info.json and the columns of data/**/*.parquet; images and videos are not. Actions
are taken as absolute targets, as the gate's are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from salus_ros.bench.supervisor_bags import RecordedEpisodes, spans
from salus_ros.interfaces import FloatArray
from salus_ros.supervision.detectors import DetectorError, Episode
from salus_ros.supervision.detectors.calibration import Identity
from salus_ros.supervision.detectors.rows import BoolArray

VERSIONS = ("v2.0", "v2.1", "v3.0")
ACTION, STATE, EPISODE, FRAME = "action", "observation.state", "episode_index", "frame_index"
GRIPPER_WORDS = ("gripper", "finger")


def read_lerobot(source: str, robot: str = "") -> RecordedEpisodes:
    """All episodes of a data set: a folder, or the id of one on the Hugging Face hub.

    robot: whose it is; "": what the set says. DetectorError, one line, for what isn't one, and
    where pyarrow (or, for an id, huggingface_hub) is missing.
    """
    folder = Path(source) if Path(source).is_dir() else _downloaded(source)
    info = _info(folder)
    table = _columns(folder, STATE in info["features"])
    episodes = _episodes(folder, table)
    names = _names(info, episodes[0].actions.shape[1])
    identity = Identity(robot or str(info.get("robot_type") or "unknown"), names, info["fps"])
    return RecordedEpisodes(episodes, identity, spans(episodes))


def arm_columns(names: Sequence[str]) -> list[int]:
    """Columns of the action that are no gripper, by their names; all where none is left."""
    arm = [k for k, name in enumerate(names) if not any(w in name.lower() for w in GRIPPER_WORDS)]
    return arm or list(range(len(names)))


def _downloaded(source: str) -> Path:
    owner, _, name = source.partition("/")
    if not owner or not name or "/" in name or Path(source).exists():
        raise DetectorError(f"{source}: no folder with a LeRobot data set, and no hub id")
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - only an id needs it
    except ImportError:
        raise DetectorError(
            f"{source}: no such folder; to get it from the hub: pip install huggingface_hub"
        ) from None
    try:
        wanted = ["meta/*", "data/*"]
        return Path(snapshot_download(source, repo_type="dataset", allow_patterns=wanted))
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise DetectorError(f"{source}: no such folder, and not from the hub: {line}") from None


def _info(folder: Path) -> dict[str, Any]:
    path = folder / "meta" / "info.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        version, features, fps = info["codebase_version"], info["features"], float(info["fps"])
        known = version in VERSIONS and ACTION in features
    except FileNotFoundError:
        raise DetectorError(f"{folder} is no LeRobot data set: no meta/info.json in it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DetectorError(f"{path} can't be read: {type(error).__name__}: {error}") from None
    if not known:
        raise DetectorError(
            f"{folder} is of version {version} with {', '.join(features)}: known are "
            f"{', '.join(VERSIONS)} with {ACTION}"
        )
    return {**info, "fps": fps}


def _columns(folder: Path, with_state: bool) -> dict[str, Any]:
    """Columns of all files together: action [rows, dims], episode and frame [rows], maybe state."""
    try:
        from pyarrow import ArrowException  # noqa: PLC0415 - only data sets need it
        from pyarrow.parquet import read_table  # noqa: PLC0415
    except ImportError:
        raise DetectorError("a LeRobot data set needs pyarrow: pip install pyarrow") from None
    files = sorted((folder / "data").rglob("*.parquet"))
    if not files:
        raise DetectorError(f"{folder}: no data/**/*.parquet in it: download the data, too")
    names = [ACTION, EPISODE, FRAME, *([STATE] if with_state else [])]
    parts: dict[str, list[Any]] = {name: [] for name in names}
    for file in files:
        try:
            table = read_table(file, columns=names)
            for name in names:
                parts[name].append(np.array(table.column(name).to_pylist(), np.float64))
        except (ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            line = " ".join(str(error).split())[:200]
            raise DetectorError(f"{file} can't be read: {line}") from None
    try:
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}
    except ValueError as error:
        raise DetectorError(f"{folder}: files of different shapes: {error}") from None


def _episodes(folder: Path, table: Mapping[str, FloatArray]) -> list[Episode]:
    actions, number, frame = table[ACTION], table[EPISODE], table[FRAME]
    if actions.ndim != 2 or not len(actions):
        raise DetectorError(f"{folder}: actions have shape {actions.shape}: expected [rows, dims]")
    order = np.lexsort((frame, number))
    ends = np.flatnonzero(np.diff(number[order])) + 1
    parts = [part for part in np.split(order, ends) if len(part) > 1]
    if not parts:
        raise DetectorError(f"{folder}: no episode of more than one row")
    return [Episode(actions[part], _stuck(table.get(STATE), part)) for part in parts]


def _stuck(state: FloatArray | None, part: np.ndarray[Any, Any]) -> BoolArray | None:
    """Whether each row's observed state is to the bit the one before; None: not known."""
    if state is None:
        return None
    seen = state[part].reshape(len(part), -1)
    same: BoolArray = np.concatenate([[False], (seen[1:] == seen[:-1]).all(axis=1)])
    return same


def _names(info: Mapping[str, Any], dims: int) -> tuple[str, ...]:
    """Names of the action's dimensions; numbered where the set has none that fit."""
    names = info["features"][ACTION].get("names")
    if isinstance(names, Mapping):
        lists = [v for v in names.values() if isinstance(v, list)]
        names = lists[0] if len(lists) == 1 else list(names)
    usable = isinstance(names, list) and len(names) == dims and len(set(names)) == dims
    return tuple(str(n) for n in names) if usable else tuple(f"action_{k}" for k in range(dims))
