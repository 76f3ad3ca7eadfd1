"""Demonstrations as a LeRobotDataset v3.0: parquet files, images as PNG inside, JSON about them.

Written and read without LeRobot. One parquet file holds some episodes, so that recording can be
gone on with; the last file is the one that was being written.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from salus_ros.interfaces import BlockPose
from salus_ros.sim.demonstrations import Demonstration, Frame
from salus_ros.sim.tasks import TASKS
from salus_ros.sim.world import CAMERAS, COLORS, GRIPPER_NAME, JOINT_NAMES

FPS = 10
ROWS, DIMS = 32, 8
_DATA = "data/chunk-000/file-{file_index:03d}.parquet"
_EPISODES = "meta/episodes/chunk-000/file-000.parquet"
_INSTRUCTIONS = [task.instruction for task in TASKS]

STATE_NAMES = (
    *(f"{name}.target" for name in (*JOINT_NAMES, GRIPPER_NAME)),
    *(f"{name}.target_velocity" for name in (*JOINT_NAMES, GRIPPER_NAME)),
    *(f"{name}.measured" for name in (*JOINT_NAMES, GRIPPER_NAME)),
)
"""What the plan starts from, its velocity, and what is measured: rad and m, and per second."""
BLOCK_NAMES = tuple(f"{c}.{what}" for c in COLORS for what in ("there", "x", "y", "z", "yaw"))


class DatasetWriter:
    """Appends files of episodes to a folder. Raises ValueError where it holds something else."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """settings: of the recording; a folder recorded with others is refused."""
        self._folder = folder
        self._settings = settings
        self._episodes: list[dict[str, Any]] = []
        self._files = 0
        if (folder / "meta" / "info.json").exists():
            self._go_on()

    @property
    def episodes(self) -> int:
        """Episodes written."""
        return len(self._episodes)

    def _go_on(self) -> None:
        info = read_info(self._folder)
        if info.get("salus_recording") != self._settings:
            raise ValueError(
                f"{self._folder} was recorded with {info.get('salus_recording')}, not with "
                f"{self._settings}: give another folder"
            )
        self._episodes = pq.read_table(self._folder / _EPISODES).to_pylist()
        self._files = 1 + max(e["data/file_index"] for e in self._episodes)

    def write(self, demonstrations: Iterable[Demonstration]) -> None:
        """Write one file of episodes."""
        columns: dict[str, list[Any]] = {}
        for demonstration in demonstrations:
            self._append(columns, demonstration)
        path = self._folder / _DATA.format(file_index=self._files)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns, schema=_schema()), path, compression="none")
        self._files += 1
        self._write_meta()

    def _append(self, columns: dict[str, list[Any]], demonstration: Demonstration) -> None:
        first = self._episodes[-1]["dataset_to_index"] if self._episodes else 0
        number, count = len(self._episodes), len(demonstration.frames)
        task = _INSTRUCTIONS.index(demonstration.instruction)
        for i, frame in enumerate(demonstration.frames):
            row = _row(frame)
            row |= {"timestamp": i / FPS, "frame_index": i, "episode_index": number}
            row |= {"index": first + i, "task_index": task}
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        self._episodes.append(
            {
                "episode_index": number,
                "tasks": [demonstration.instruction],
                "length": count,
                "dataset_from_index": first,
                "dataset_to_index": first + count,
                "data/chunk_index": 0,
                "data/file_index": self._files,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                "seed": demonstration.seed,
                "success": demonstration.success,
            }
        )

    def _write_meta(self) -> None:
        meta = self._folder / "meta"
        (meta / "episodes" / "chunk-000").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), self._folder / _EPISODES)
        _write_tasks(meta / "tasks.parquet")
        frames = self._episodes[-1]["dataset_to_index"]
        info = _info(len(self._episodes), frames) | {"salus_recording": self._settings}
        (meta / "info.json").write_text(json.dumps(info, indent=2) + "\n")


def read_info(folder: Path) -> dict[str, Any]:
    """meta/info.json. Raises ValueError where the folder holds no such data set."""
    try:
        info: dict[str, Any] = json.loads((folder / "meta" / "info.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no data set (meta/info.json: {error})") from error
    return info


def data_files(folder: Path) -> list[Path]:
    """The parquet files in order; the last may be in the making (see complete_files)."""
    return sorted((folder / "data" / "chunk-000").glob("file-*.parquet"))


def complete_files(folder: Path) -> int:
    """How many of them the meta data knows of."""
    episodes = pq.read_table(folder / _EPISODES, columns=["data/file_index"])
    return 1 + int(max(episodes.column(0).to_pylist()))


def decode(image: dict[str, Any]) -> NDArray[np.uint8]:
    """An image of a parquet row, [height, width, 3] uint8 RGB."""
    return np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB"), np.uint8)


def blocks_of(values: NDArray[Any]) -> tuple[BlockPose, ...]:
    """Block poses of `observation.environment_state` [20]."""
    rows = np.asarray(values, np.float64).reshape(len(COLORS), 5)
    return tuple(
        BlockPose(color, row[1:4], float(row[4]))
        for color, row in zip(COLORS, rows, strict=True)
        if row[0] > 0.5
    )


def _row(frame: Frame) -> dict[str, Any]:
    state = np.concatenate([frame.start.targets, frame.start.velocities, frame.measured])
    row: dict[str, Any] = {f"observation.images.{c}": _png(frame.images[c]) for c in CAMERAS}
    row["observation.state"] = state.astype(np.float32)
    row["observation.environment_state"] = _block_values(frame.blocks)
    row["observation.time"] = frame.time
    # What is due when the next frame comes.
    row["action"] = frame.chunk[round(30 / FPS)].astype(np.float32)
    row["action.chunk"] = frame.chunk.astype(np.float32).ravel()
    return row


def _block_values(blocks: tuple[BlockPose, ...]) -> NDArray[np.float32]:
    values = np.zeros((len(COLORS), 5), np.float32)
    for block in blocks:
        values[COLORS.index(block.color)] = [1.0, *block.position, block.yaw]
    return values.ravel()


def _png(image: NDArray[np.uint8]) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return {"bytes": buffer.getvalue(), "path": None}


def _schema() -> pa.Schema:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    vector = {
        "observation.state": len(STATE_NAMES),
        "observation.environment_state": len(BLOCK_NAMES),
    }
    fields = [(f"observation.images.{c}", image) for c in CAMERAS]
    fields += [(name, pa.list_(pa.float32(), size)) for name, size in vector.items()]
    fields += [("observation.time", pa.float32())]
    fields += [("action", pa.list_(pa.float32(), DIMS))]
    fields += [("action.chunk", pa.list_(pa.float32(), ROWS * DIMS))]
    fields += [("timestamp", pa.float32())]
    fields += [(n, pa.int64()) for n in ("frame_index", "episode_index", "index", "task_index")]
    return pa.schema(fields)


def _write_tasks(path: Path) -> None:
    table = pa.table({"task_index": list(range(len(TASKS))), "__index_level_0__": _INSTRUCTIONS})
    # LeRobot reads the instructions as the pandas index of this table.
    pandas = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [],
        "columns": [
            {
                "name": name,
                "field_name": field,
                "pandas_type": kind,
                "numpy_type": numpy,
                "metadata": None,
            }
            for name, field, kind, numpy in (
                ("task_index", "task_index", "int64", "int64"),
                (None, "__index_level_0__", "unicode", "object"),
            )
        ],
        "pandas_version": "2.0.0",
    }
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)


def _info(episodes: int, frames: int) -> dict[str, Any]:
    def feature(dtype: str, shape: list[int], names: Any = None) -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "names": names}

    features = {
        f"observation.images.{c}": feature("image", [128, 128, 3], ["height", "width", "channels"])
        for c in CAMERAS
    }
    features["observation.state"] = feature("float32", [len(STATE_NAMES)], list(STATE_NAMES))
    features["observation.environment_state"] = feature(
        "float32", [len(BLOCK_NAMES)], list(BLOCK_NAMES)
    )
    features["observation.time"] = feature("float32", [1])
    features["action"] = feature("float32", [DIMS], [*JOINT_NAMES, GRIPPER_NAME])
    features["action.chunk"] = feature("float32", [ROWS * DIMS])
    features["timestamp"] = feature("float32", [1])
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = feature("int64", [1])
    return {
        "codebase_version": "v3.0",
        "robot_type": "panda",
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": len(TASKS),
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }
