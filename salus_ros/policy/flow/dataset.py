"""Demonstrations as arrays for training, made once per file and kept beside it.

Each observation has two instructions: the one that was followed, and another about the same scene.
The teacher as it is now says what to do for both, since it plans from any state. So nothing but the
words says which block is meant.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from salus_ros.interfaces import BlockPose, FloatArray
from salus_ros.policy.anchor import Start
from salus_ros.policy.flow.images import scaled
from salus_ros.policy.flow.state import state_vector
from salus_ros.sim import demonstrator
from salus_ros.sim import lerobot_dataset as stored
from salus_ros.sim.expert import find_block
from salus_ros.sim.tasks import TASKS, Task
from salus_ros.sim.world import CAMERAS, COLORS


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """n observations.

    images [n, cameras, size, size, 3] uint8. states [n, state_size]. starts [n, dims]. blocks
    [n, colours, 5] (there, x, y, z, yaw). tasks [n, 2]: indices into TASKS. chunks
    [n, 2, rows, dims]: the teacher's, rad and m.
    """

    images: NDArray[np.uint8]
    states: NDArray[np.float32]
    starts: NDArray[np.float64]
    blocks: NDArray[np.float32]
    tasks: NDArray[np.int64]
    chunks: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)


class FrameStore:
    """The frames of some data sets, which may still grow."""

    def __init__(self, folders: list[Path], image_size: int) -> None:
        """Raises ValueError where a folder holds no data set."""
        for folder in folders:
            stored.read_info(folder)
        self._folders = folders
        self._size = image_size
        self._seen: set[Path] = set()
        self._parts: list[Frames] = []

    def refresh(self) -> bool:
        """Read new files; whether there were any."""
        found = False
        for folder in self._folders:
            count = stored.complete_files(folder)
            for path in stored.data_files(folder)[:count]:
                if path not in self._seen:
                    self._parts.append(load_frames(path, self._size))
                    self._seen.add(path)
                    found = True
        return found

    @property
    def frames(self) -> Frames:
        """All of them."""
        if len(self._parts) > 1:
            names = [field.name for field in fields(Frames)]
            joined = (np.concatenate([getattr(p, n) for p in self._parts]) for n in names)
            # In the parts' place: both together would take twice the memory.
            self._parts = [Frames(*joined)]
        return self._parts[0]


def load_frames(path: Path, image_size: int) -> Frames:
    """Frames of one file of a data set."""
    cache = path.parents[2] / "cache" / f"{path.stem}-{image_size}-{_teacher()}.npz"
    if cache.is_file() and cache.stat().st_mtime >= path.stat().st_mtime:
        with np.load(cache) as content:
            return Frames(*(content[field.name] for field in fields(Frames)))
    frames = _frames_of(pq.read_table(path), image_size)
    cache.parent.mkdir(exist_ok=True)
    np.savez(cache, **{field.name: getattr(frames, field.name) for field in fields(Frames)})
    return frames


def _teacher() -> str:
    """Which teacher gave the labels: they are made anew when it changes."""
    return hashlib.sha256(Path(demonstrator.__file__).read_bytes()).hexdigest()[:8]


def _frames_of(table: pa.Table, image_size: int) -> Frames:
    rows = [_frame(row, image_size) for row in table.to_pylist()]
    columns = list(zip(*[row for row in rows if row is not None], strict=True))
    kinds = (np.uint8, np.float32, np.float64, np.float32, np.int64, np.float64)
    return Frames(*(np.array(c, kind) for c, kind in zip(columns, kinds, strict=True)))


def _frame(row: dict[str, object], image_size: int) -> tuple[object, ...] | None:
    images = [scaled(stored.decode(row[f"observation.images.{c}"]), image_size) for c in CAMERAS]  # type: ignore[arg-type]
    targets, velocities, measured = np.array(row["observation.state"], np.float64).reshape(3, -1)
    values = np.array(row["observation.environment_state"], np.float32)
    start, task = Start(targets, velocities), int(row["task_index"])  # type: ignore[call-overload]
    tasks = [task, _other_task(int(row["index"]), task, stored.blocks_of(values))]  # type: ignore[call-overload]
    try:
        chunks = [
            _teach(start, float(measured[-1]), TASKS[t], stored.blocks_of(values)) for t in tasks
        ]
    except ValueError:
        return None
    state = state_vector(start, measured)
    blocks = values.reshape(len(COLORS), -1)
    return images, state, targets, blocks, tasks, chunks


def _other_task(index: int, task: int, blocks: tuple[BlockPose, ...]) -> int:
    """Another task of a block that is there, drawn by the frame's index."""
    there = {block.color for block in blocks}
    choice = [i for i, t in enumerate(TASKS) if t.color in there and i != task]
    return int(np.random.default_rng([index, 4]).choice(choice))


def _teach(start: Start, opening: float, task: Task, blocks: tuple[BlockPose, ...]) -> FloatArray:
    return demonstrator.demonstrate(start, opening, task, find_block(blocks, task.color))
