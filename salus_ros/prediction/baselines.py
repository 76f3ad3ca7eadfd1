"""What the model has to be better than, each fitted and scored on the same episodes.

A baseline gives every step of an episode one number, higher where it expects a failure. Those on
the policy's latents, plans and samples work per chunk; a chunk's number holds until the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from salus_ros.interfaces import FloatArray
from salus_ros.prediction.episodes import RecordedEpisode
from salus_ros.prediction.features import known_signals
from salus_ros.prediction.metrics import auc
from salus_ros.signals.layout import SIGNAL_NAMES

Scorer = Callable[[RecordedEpisode], FloatArray]
Fit = Callable[[Sequence[RecordedEpisode], int], Scorer]


class NotAvailableError(ValueError):
    """The episodes lack what a baseline looks at; the message says what."""


def hold_chunks(episode: RecordedEpisode, chunk_scores: FloatArray) -> FloatArray:
    """Scores [T] of the steps from those [N] of the chunks: each holds until the next."""
    place = np.searchsorted(episode.chunks.times, episode.times, side="right") - 1
    return np.asarray(chunk_scores[np.maximum(place, 0)], np.float64)


def oriented(scorer: Scorer, episodes: Sequence[RecordedEpisode]) -> Scorer:
    """The scorer or its negative, whichever tells the failures of these episodes better."""
    failed = np.array([e.failed for e in episodes])
    highest = np.array([scorer(e)[: e.steps_before_onset].max() for e in episodes])
    lowest = np.array([scorer(e)[: e.steps_before_onset].min() for e in episodes])
    if np.nan_to_num(auc(-lowest, failed)) > np.nan_to_num(auc(highest, failed)):
        return lambda episode: -scorer(episode)
    return scorer


def single_signal(signal: int) -> Fit:
    """One signal alone; where it is unknown, the middle of what it was in training."""

    def fit(training: Sequence[RecordedEpisode], seed: int) -> Scorer:
        known = [known_signals(e)[:, signal] for e in training]
        values = [e.signals[k, signal] for e, k in zip(training, known, strict=True)]
        seen = np.concatenate(values)
        if not seen.size:
            raise NotAvailableError(f"{SIGNAL_NAMES[signal]} was never valid")
        middle = float(np.median(seen))
        return oriented(
            lambda e: np.where(known_signals(e)[:, signal], e.signals[:, signal], middle).astype(
                np.float64
            ),
            training,
        )

    return fit


def elapsed_time(training: Sequence[RecordedEpisode], seed: int) -> Scorer:
    """The clock and nothing else: how much of a figure it earns."""
    return lambda e: e.times


def sample_variance(training: Sequence[RecordedEpisode], seed: int) -> Scorer:
    """Variance of the policy's action samples."""
    if not any(np.isfinite(e.chunks.sample_variances).any() for e in training):
        raise NotAvailableError("the variance of action samples was not recorded")
    return lambda e: hold_chunks(e, np.nan_to_num(e.chunks.sample_variances))


def plan_disagreement(training: Sequence[RecordedEpisode], seed: int) -> Scorer:
    """STAC with one sample: how far a new plan is from the last, where both overlap in time.

    Source: Agia et al., "Unpacking failure modes of generative policies", 2024, where many samples
    of each are compared; only executed plans are recorded.
    """
    if not any(len(e.chunks.plans) > 1 for e in training):
        raise NotAvailableError("plans were not recorded")
    scale = _plan_scale(training)
    return lambda e: hold_chunks(e, _disagreements(e, scale))


def _plan_scale(training: Sequence[RecordedEpisode]) -> FloatArray:
    rows = np.concatenate([e.chunks.plans.reshape(-1, e.chunks.plans.shape[-1]) for e in training])
    return np.asarray(np.maximum(np.nanstd(rows, axis=0), 1e-6), np.float64)


def _disagreements(episode: RecordedEpisode, scale: FloatArray) -> FloatArray:
    """[N]: squared distance per overlapping fresh row; 0 for the first chunk."""
    chunks = episode.chunks
    found = np.zeros(max(len(chunks.plans), 1))
    for n in range(1, len(chunks.plans)):
        shift = round((chunks.plan_starts[n] - chunks.plan_starts[n - 1]) / chunks.time_step)
        first = int(chunks.first_fresh[n])
        rows = np.arange(first, len(chunks.plans[n]))
        earlier = rows + shift
        both = (earlier >= 0) & (earlier < len(chunks.plans[n - 1]))
        offset = (chunks.plans[n][rows[both]] - chunks.plans[n - 1][earlier[both]]) / scale
        distances = (offset**2).sum(axis=1)
        known = np.isfinite(distances)
        found[n] = distances[known].mean() if known.any() else found[n - 1]
    return found
