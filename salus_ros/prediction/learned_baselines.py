"""Baselines that learn from failures, too: networks without the model's causal window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.baselines import Scorer, hold_chunks
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.features import features, fit_normalisation
from salus_ros.prediction.latent_baselines import fit_projection, latents_of
from salus_ros.prediction.layout import FAILURE_TYPES, HORIZONS
from salus_ros.prediction.optimizer import AdamW
from salus_ros.prediction.training import Example, TrainingConfig, examples, table_loss
from salus_ros.signals.layout import SIGNALS

MLP_WIDTHS = (SIGNALS, 128, 256, 128, len(HORIZONS) * len(FAILURE_TYPES))
# Each step of an episode is an example of the MLP, each episode one of the others.
MLP_EPOCHS, EPOCHS, BATCH, RATE = 12, 40, 16, 1e-3
LSTM_HIDDEN = 64
Item = TypeVar("Item")


def signal_mlp(training: Sequence[RecordedEpisode], seed: int) -> Scorer:
    """An MLP 12-128-256-128-16 on the signals of one step, with the model's own loss."""
    torch.manual_seed(seed)
    norm = fit_normalisation(training)
    layers: list[nn.Module] = []
    for width, after in pairwise(MLP_WIDTHS):
        layers += [nn.Linear(width, after), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    config = TrainingConfig()

    def loss(batch: list[Example]) -> Tensor:
        rows = pad_sequence([torch.from_numpy(e.features) for e in batch], batch_first=True)
        table = network(rows[..., :SIGNALS]).unflatten(-1, (len(HORIZONS), len(FAILURE_TYPES)))
        return table_loss(config, table, batch)

    _learn(network, examples(training, norm), loss, seed, MLP_EPOCHS)

    def score(episode: RecordedEpisode) -> FloatArray:
        rows = torch.from_numpy(features(episode, norm)[:, :SIGNALS])
        with torch.no_grad():
            table = network(rows).unflatten(-1, (len(HORIZONS), len(FAILURE_TYPES)))
        return np.asarray(table[:, -1].max(dim=-1).values.double().numpy())

    return score


def latent_mlp(training: Sequence[RecordedEpisode], seed: int) -> Scorer:
    """SAFE's MLP: each chunk's latent, whether the episode fails; scores add up over the episode.

    Source: Gu et al., "SAFE: multitask failure detection for VLA models", 2025.
    """
    return _on_latents(training, seed, _Steps)


def latent_lstm(training: Sequence[RecordedEpisode], seed: int) -> Scorer:
    """SAFE's LSTM over the latents of the chunks."""
    return _on_latents(training, seed, _Recurrent)


class _Steps:
    """An MLP for each chunk; the score of a chunk is the mean of those so far."""

    def __init__(self, width: int) -> None:
        self.network = nn.Sequential(
            nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)
        )

    def __call__(self, rows: Tensor) -> Tensor:
        each = self.network(rows)[..., 0]
        count = torch.arange(1, each.shape[1] + 1)
        return each.cumsum(dim=1) / count


class _Recurrent:
    """An LSTM, then one number for each chunk."""

    def __init__(self, width: int) -> None:
        self.network = nn.ModuleDict(
            {
                "lstm": nn.LSTM(width, LSTM_HIDDEN, batch_first=True),
                "head": nn.Linear(LSTM_HIDDEN, 1),
            }
        )

    def __call__(self, rows: Tensor) -> Tensor:
        hidden, _ = self.network["lstm"](rows)
        logits: Tensor = self.network["head"](hidden)[..., 0]
        return logits


def _on_latents(
    training: Sequence[RecordedEpisode], seed: int, make: Callable[[int], _Steps | _Recurrent]
) -> Scorer:
    torch.manual_seed(seed)
    projection = fit_projection(latents_of(training))

    def rows_of(episode: RecordedEpisode, count: int) -> Tensor:
        latents = np.nan_to_num(episode.chunks.latents[:count]).astype(np.float64)
        return torch.from_numpy(projection.apply(latents)).float()

    usable = [e for e in training if _chunks_before(e) > 0]
    data = [(rows_of(e, _chunks_before(e)), float(e.failed)) for e in usable]
    model = make(projection.axes.shape[1])

    def loss(batch: list[tuple[Tensor, float]]) -> Tensor:
        logits = model(pad_sequence([rows for rows, _ in batch], batch_first=True))
        mask = pad_sequence([torch.ones(len(rows)) for rows, _ in batch], batch_first=True)
        failed = torch.tensor([label for _, label in batch])[:, None].expand_as(logits)
        entropy = functional.binary_cross_entropy_with_logits(logits, failed, reduction="none")
        return ((entropy * mask).sum(dim=1) / mask.sum(dim=1)).mean()

    _learn(model.network, data, loss, seed)

    def score(episode: RecordedEpisode) -> FloatArray:
        with torch.no_grad():
            logits = model(rows_of(episode, len(episode.chunks.times))[None])[0]
        return hold_chunks(episode, logits.double().numpy())

    return score


def _chunks_before(episode: RecordedEpisode) -> int:
    """How many chunks arrived before the onset."""
    if episode.chunks.latents.shape[1] == 0:
        return 0
    end = episode.onset if episode.failed else np.inf
    return int(np.searchsorted(episode.chunks.times, end, side="left"))


def _learn(
    network: nn.Module,
    data: Sequence[Item],
    loss: Callable[[list[Item]], Tensor],
    seed: int,
    epochs: int = EPOCHS,
) -> None:
    optimizer = AdamW(network.parameters(), RATE, weight_decay=1e-2)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(data))
        for first in range(0, len(order), BATCH):
            optimizer.minimise(loss([data[i] for i in order[first : first + BATCH]]))
