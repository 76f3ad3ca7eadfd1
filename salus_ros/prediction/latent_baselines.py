"""Baselines on the policy's latents: how unlike those of successful episodes is this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.baselines import Fit, NotAvailableError, Scorer, hold_chunks
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.optimizer import AdamW

COMPONENTS = 64
NEIGHBOURS = 5
MOST_REFERENCES = 4000
_STEPS, _BATCH, _RATE = 600, 256, 1e-3
_EULER_STEPS = 10

Distance = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """To the leading principal components, each of variance one: mean [width], axes [width, k]."""

    mean: FloatArray
    axes: FloatArray

    def apply(self, latents: FloatArray) -> FloatArray:
        """[..., k] of latents [..., width]."""
        projected: FloatArray = (latents - self.mean) @ self.axes
        return projected


def fit_projection(latents: FloatArray, components: int = COMPONENTS) -> Projection:
    """Of latents [n, width]; components that hardly vary are left out."""
    mean = latents.mean(axis=0)
    _, spread, axes = np.linalg.svd(latents - mean, full_matrices=False)
    deviation = spread / np.sqrt(max(len(latents) - 1, 1))
    k = max(1, min(components, int((deviation > 1e-3 * deviation[0]).sum())))
    return Projection(mean, axes[:k].T / np.maximum(deviation[:k], 1e-9))


def latents_of(episodes: Sequence[RecordedEpisode]) -> FloatArray:
    """All latents [n, width]. Raises NotAvailableError where the policy has none."""
    rows = [e.chunks.latents for e in episodes if e.chunks.latents.shape[1] > 0]
    if not rows or not sum(len(r) for r in rows):
        raise NotAvailableError("the policy has no latents, or they were not recorded")
    found: FloatArray = np.concatenate(rows).astype(np.float64)
    return found[np.isfinite(found).all(axis=1)]


def density(make: Callable[[FloatArray, int], Distance]) -> Fit:
    """A baseline from a distance to the projected latents of successful training episodes."""

    def fit(training: Sequence[RecordedEpisode], seed: int) -> Scorer:
        latents = latents_of([e for e in training if not e.failed])
        rng = np.random.default_rng(seed)
        if len(latents) > MOST_REFERENCES:
            latents = rng.choice(latents, MOST_REFERENCES, replace=False)
        projection = fit_projection(latents)
        distance = make(projection.apply(latents), seed)
        return lambda e: hold_chunks(e, distance(projection.apply(np.nan_to_num(e.chunks.latents))))

    return fit


def mahalanobis(references: FloatArray, seed: int) -> Distance:
    """On whitened components the Mahalanobis distance is the plain one."""
    return lambda rows: np.sqrt((rows**2).sum(axis=1))


def nearest_neighbours(references: FloatArray, seed: int) -> Distance:
    """Mean distance to the nearest references."""

    def distance(rows: FloatArray) -> FloatArray:
        squares = (rows**2).sum(1)[:, None] + (references**2).sum(1) - 2 * rows @ references.T
        nearest = np.partition(squares, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        return np.asarray(np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1))

    return distance


def random_network_distillation(references: FloatArray, seed: int) -> Distance:
    """Error of a network that learned another, random one on the references (Burda, 2018)."""
    torch.manual_seed(seed)
    width = references.shape[1]
    target, learner = _perceptron(width, 64), _perceptron(width, 64)
    for parameter in target.parameters():
        parameter.requires_grad_(False)

    def error(rows: Tensor) -> Tensor:
        return ((learner(rows) - target(rows)) ** 2).mean(dim=1)

    _learn(learner, references, lambda rows: error(rows).mean())
    return _as_distance(error)


def flow_to_noise(references: FloatArray, seed: int) -> Distance:
    """LogpZO: squared norm of the noise that a flow from latents to noise maps a latent to.

    Source: Xu et al., "Can we detect failures without failure data?", 2025.
    """
    torch.manual_seed(seed)
    width = references.shape[1]
    velocity = _perceptron(width + 1, width)

    def loss(rows: Tensor) -> Tensor:
        noise, time = torch.randn_like(rows), torch.rand(len(rows), 1)
        place = (1 - time) * rows + time * noise
        return ((velocity(torch.cat([place, time], 1)) - (noise - rows)) ** 2).mean()

    def size(rows: Tensor) -> Tensor:
        for k in range(_EULER_STEPS):
            time = torch.full((len(rows), 1), k / _EULER_STEPS)
            rows = rows + velocity(torch.cat([rows, time], 1)) / _EULER_STEPS
        return (rows**2).sum(dim=1)

    _learn(velocity, references, loss)
    return _as_distance(size)


def _perceptron(inputs: int, outputs: int, hidden: int = 128) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, outputs),
    )


def _learn(network: nn.Module, rows: FloatArray, loss: Callable[[Tensor], Tensor]) -> None:
    data = torch.from_numpy(rows).float()
    optimizer = AdamW(network.parameters(), _RATE)
    for _ in range(_STEPS):
        batch = data[torch.randint(len(data), (_BATCH,))]
        optimizer.minimise(loss(batch))


def _as_distance(function: Callable[[Tensor], Tensor]) -> Distance:
    def distance(rows: FloatArray) -> FloatArray:
        with torch.no_grad():
            return np.asarray(function(torch.from_numpy(rows).float()).double().numpy())

    return distance
