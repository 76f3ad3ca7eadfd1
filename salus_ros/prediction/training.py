"""Training of the network: seeded, resumable, the same result whether it was interrupted or not."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.features import GROUPS, Normalisation, features
from salus_ros.prediction.labels import step_labels
from salus_ros.prediction.metrics import auc
from salus_ros.prediction.model import SMOOTHING, smoothed
from salus_ros.prediction.network import Array, Network, NetworkConfig
from salus_ros.prediction.optimizer import AdamW
from salus_ros.prediction.torch_network import TorchNetwork
from salus_ros.signals.layout import SIGNALS, SignalError

# Without these there is nothing to learn from.
FEWEST_FAILURES, FEWEST_SUCCESSES = 5, 5


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """focus: of the focal loss; positive_weight: of what is rare.

    group_dropout: how likely each group of signals is missing from an episode, so that the model
    also works where a policy or robot doesn't have it. averaging: of the weights over steps.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    epochs: int = 60
    batch: int = 16
    rate: float = 5e-3
    weight_decay: float = 1e-2
    dropout: float = 0.1
    group_dropout: float = 0.15
    focus: float = 2.0
    positive_weight: float = 0.75
    averaging: float = 0.98
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """After an epoch: mean loss, and quality on the validation episodes (mean of ROC-AUCs)."""

    epoch: int
    loss: float
    quality: float
    best: bool


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An episode's steps before its onset: features [T, 24], labels [T, horizons, types]."""

    features: Array
    labels: FloatArray
    failed: bool


def examples(episodes: Sequence[RecordedEpisode], norm: Normalisation) -> list[Example]:
    """What is learned from each episode."""
    found = []
    for episode in episodes:
        rows = features(episode, norm)[: episode.steps_before_onset]
        found.append(Example(rows, step_labels(episode).astype(np.float64), episode.failed))
    return found


def train(
    config: TrainingConfig,
    training: Sequence[Example],
    validation: Sequence[Example],
    on_epoch: Callable[[Progress], None] = lambda _: None,
    state_file: Path | None = None,
) -> dict[str, Array]:
    """Weights of the epoch that was best on the validation episodes.

    state_file: kept up to date after each epoch and gone on from where it is of this training.
    Raises SignalError where there are too few failures or successes.
    """
    check_enough(training)
    run = _Run(config, training, validation)
    if state_file is not None and state_file.exists():
        run.load(state_file)
    while run.epoch < config.epochs:
        progress = run.train_epoch()
        if state_file is not None:
            run.save(state_file)
        on_epoch(progress)
    return run.best


def check_enough(training: Sequence[Example]) -> None:
    """Raise SignalError where there is too little to learn from, naming the numbers."""
    failures = sum(e.failed for e in training)
    successes = len(training) - failures
    if failures < FEWEST_FAILURES or successes < FEWEST_SUCCESSES:
        raise SignalError(
            f"training needs {FEWEST_FAILURES} failures and {FEWEST_SUCCESSES} successes, there "
            f"are {failures} and {successes}: record more episodes"
        )


class _Run:
    """Where a training stands."""

    def __init__(
        self, config: TrainingConfig, training: Sequence[Example], validation: Sequence[Example]
    ) -> None:
        self._config, self._training, self._validation = config, training, validation
        torch.manual_seed(config.seed)
        self._network = TorchNetwork(config.network, config.dropout, config.seed)
        self._optimizer = AdamW(self._network.values.values(), config.rate, config.weight_decay)
        self._average = self._network.weights()
        self.best = self._average
        self._best_quality = -math.inf
        self.epoch = 0

    def train_epoch(self) -> Progress:
        """One pass over all episodes. Its random numbers depend on seed and epoch alone."""
        config = self._config
        torch.manual_seed(config.seed * 1_000_003 + self.epoch)
        rng = np.random.default_rng([config.seed, self.epoch])
        share = self.epoch / config.epochs
        self._optimizer.rate = config.rate * 0.5 * (1 + math.cos(math.pi * share))
        losses = [self._train_batch(batch) for batch in self._batches(rng)]
        quality = self._quality()
        better = quality > self._best_quality
        if better:
            self._best_quality, self.best = quality, dict(self._average)
        self.epoch += 1
        return Progress(self.epoch, float(np.mean(losses)), quality, better)

    def _batches(self, rng: np.random.Generator) -> Iterator[list[Example]]:
        order = rng.permutation(len(self._training))
        for first in range(0, len(order), self._config.batch):
            chosen = [self._training[i] for i in order[first : first + self._config.batch]]
            yield [_without_groups(e, rng, self._config.group_dropout) for e in chosen]

    def _train_batch(self, batch: list[Example]) -> float:
        rows = pad_sequence([torch.from_numpy(e.features) for e in batch], batch_first=True)
        table, episode = self._network(rows, training=True)
        loss = table_loss(self._config, table, batch) + _episode_loss(episode, batch)
        self._optimizer.minimise(loss)
        share = min(self._config.averaging, 1 - 1 / (2 + self.epoch * 4))
        now = self._network.weights()
        self._average = {n: share * self._average[n] + (1 - share) * now[n] for n in now}
        return float(loss.detach())

    def _quality(self) -> float:
        """Mean of the episodes' ROC-AUC and of the longest horizon's; 0.5 for what can't be told.

        Without validation episodes the newest weights count as best.
        """
        if not self._validation:
            return float(self.epoch)
        network = Network(self._config.network, self._average)
        outputs = [network.recording(e.features) for e in self._validation]
        failed = np.array([e.failed for e in self._validation])
        logits = [o.episode.astype(np.float64) for o in outputs]
        scores = np.array([smoothed(row, SMOOTHING).max() for row in logits])
        near = np.concatenate([e.labels[:, -1].any(axis=-1) for e in self._validation])
        steps = np.concatenate([o.horizons[:, -1].max(axis=-1) for o in outputs])
        areas = np.array([auc(scores, failed), auc(steps, near)])
        return float(np.nan_to_num(areas, nan=0.5).mean())

    # --- resuming ---

    def _identity(self) -> str:
        digest = hashlib.sha256(repr(asdict(self._config)).encode())
        for example in (*self._training, *self._validation):
            digest.update(np.ascontiguousarray(example.features).tobytes())
        return digest.hexdigest()

    def save(self, file: Path) -> None:
        """Write where it stands; whole or not at all."""
        content: dict[str, Any] = {
            "identity": self._identity(),
            "epoch": self.epoch,
            "best_quality": self._best_quality,
            "steps": self._optimizer.steps,
            "first": self._optimizer.first,
            "second": self._optimizer.second,
        }
        for name, weights in self._parts().items():
            content[name] = {key: torch.from_numpy(value) for key, value in weights.items()}
        part = file.with_name(file.name + ".part")
        torch.save(content, part)
        part.replace(file)

    def load(self, file: Path) -> None:
        """Go on from there; a state of another training, or a broken one, is not used."""
        try:
            content = torch.load(file, weights_only=True)
        except Exception:  # torch raises anything for a torn file; it is then made anew
            return
        if content.get("identity") != self._identity():
            return
        arrays = {
            name: {key: value.numpy().copy() for key, value in content[name].items()}
            for name in self._parts()
        }
        self._network.load(arrays["newest"])
        self._average, self.best = arrays["average"], arrays["best"]
        self._optimizer.steps = content["steps"]
        self._optimizer.first, self._optimizer.second = content["first"], content["second"]
        self.epoch, self._best_quality = content["epoch"], content["best_quality"]

    def _parts(self) -> dict[str, dict[str, Array]]:
        return {"newest": self._network.weights(), "average": self._average, "best": self.best}


def _without_groups(example: Example, rng: np.random.Generator, share: float) -> Example:
    """Some groups of signals unknown, values and flags; never all of them."""
    missing = [group for group in GROUPS.values() if rng.random() < share]
    if not missing or len(missing) == len(GROUPS):
        return example
    columns = [signal for group in missing for signal in group]
    rows = example.features.copy()
    rows[:, columns] = 0.0
    rows[:, [SIGNALS + column for column in columns]] = 0.0
    return Example(rows, example.labels, example.failed)


def focal_loss(logits: Tensor, labels: Tensor, focus: float, positive_weight: float) -> Tensor:
    """Of each element: cross-entropy that fades where the answer is already right.

    Source: Lin et al., "Focal loss for dense object detection", 2017.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    right = torch.exp(-entropy)
    weight = positive_weight * labels + (1 - positive_weight) * (1 - labels)
    return weight * (1 - right) ** focus * entropy


def table_loss(config: TrainingConfig, table: Tensor, batch: list[Example]) -> Tensor:
    """Focal loss of each horizon, per positive step, as in its source; mean over horizons."""
    labels = pad_sequence([torch.from_numpy(e.labels) for e in batch], batch_first=True).float()
    losses = focal_loss(table, labels, config.focus, config.positive_weight)
    known = _mask(batch)[:, :, None, None]
    of_horizon = (losses * known).sum(dim=(0, 1, 3))
    return (of_horizon / labels.sum(dim=(0, 1, 3)).clamp(min=1.0)).mean()


def _episode_loss(logits: Tensor, batch: list[Example]) -> Tensor:
    """Cross-entropy of whether the episode fails; each episode weighs the same."""
    mask = _mask(batch)
    failed = torch.tensor([float(e.failed) for e in batch])[:, None].expand_as(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, failed, reduction="none")
    return ((entropy * mask).sum(dim=1) / mask.sum(dim=1)).mean()


def _mask(batch: list[Example]) -> Tensor:
    return pad_sequence([torch.ones(len(e.features)) for e in batch], batch_first=True)
