"""Recorded observations of a data set (`salus record demos`), as the flow network's inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from salus_ros.policy.anchor import Start
from salus_ros.policy.flow.checkpoint import Checkpoint
from salus_ros.policy.flow.images import scaled
from salus_ros.policy.flow.instructions import word_indices
from salus_ros.policy.flow.state import state_vector
from salus_ros.sim import lerobot_dataset as stored
from salus_ros.sim.tasks import TASKS

BATCH = 128


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """n observations: prefix tokens [n, tokens, width], and the episode of each [n]."""

    tokens: Tensor
    episodes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.episodes)

    def of(self, episodes: NDArray[np.int64]) -> Recorded:
        """Those of some episodes."""
        rows = np.flatnonzero(np.isin(self.episodes, episodes))
        return Recorded(self.tokens[torch.from_numpy(rows)], self.episodes[rows])


@torch.no_grad()  # type: ignore[untyped-decorator]
def read_recorded(
    folder: Path, checkpoint: Checkpoint, per_episode: int, most_episodes: int, seed: int
) -> Recorded:
    """At most so many observations of at most so many episodes, both drawn evenly.

    Raises ValueError where the folder holds no data set.
    """
    stored.read_info(folder)
    files = stored.data_files(folder)[: stored.complete_files(folder)]
    rows = [row for path in files for row in _chosen_rows(path, per_episode, seed)]
    numbers = np.unique([row["episode_index"] for row in rows])
    kept = np.random.default_rng([seed, 1]).permutation(numbers)[:most_episodes]
    rows = [row for row in rows if row["episode_index"] in set(kept.tolist())]
    parts = [_tokens(rows[i : i + BATCH], checkpoint) for i in range(0, len(rows), BATCH)]
    return Recorded(torch.cat(parts), np.array([row["episode_index"] for row in rows], np.int64))


def _chosen_rows(path: Path, per_episode: int, seed: int) -> list[dict[str, Any]]:
    table = pq.read_table(path)
    episodes = table["episode_index"].to_numpy()
    rng = np.random.default_rng([seed, int(episodes[0])])
    chosen = []
    for number in np.unique(episodes):
        rows = np.flatnonzero(episodes == number)
        chosen += sorted(rng.choice(rows, min(per_episode, len(rows)), replace=False).tolist())
    rows_of_file: list[dict[str, Any]] = table.take(chosen).to_pylist()
    return rows_of_file


def _tokens(rows: list[dict[str, Any]], checkpoint: Checkpoint) -> Tensor:
    network, config = checkpoint.network, checkpoint.config
    images = [
        [
            scaled(stored.decode(r[f"observation.images.{c}"]), config.image_size)
            for c in config.cameras
        ]
        for r in rows
    ]
    pixels = torch.from_numpy(np.array(images)).permute(0, 1, 4, 2, 3).float() / 255.0
    states = np.array([_state(row) for row in rows])
    state = torch.tensor(checkpoint.normalisation.state(states), dtype=torch.float32)
    texts = [TASKS[row["task_index"]].instruction for row in rows]
    words = torch.tensor(np.array([word_indices(text, config) for text in texts]))
    tokens: Tensor = network.tokens(network.see(pixels), words, state)
    return tokens


def _state(row: dict[str, Any]) -> NDArray[np.float64]:
    values = np.array(row["observation.state"], np.float64).reshape(3, -1)
    return state_vector(Start(values[0], values[1]), values[2])
