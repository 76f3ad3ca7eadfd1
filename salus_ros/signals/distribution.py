"""The action distribution behind signals 8 and 9: its entropy and largest probability."""

from __future__ import annotations

from typing import Final

import numpy as np

from salus_ros.interfaces import ActionDistribution, FloatArray
from salus_ros.signals.layout import SignalError

BINS: Final = 32
KERNEL_BINS: Final = 0.5  # standard deviation of the kernel, in bins


def distribution_of_samples(
    samples: FloatArray, low: FloatArray, high: FloatArray, bins: int = BINS
) -> ActionDistribution | None:
    """Of K samples of a chunk's execution window.

    samples [K, steps, dims]; low, high [dims]: the calibrated action range, which the bins span;
    samples beyond it count at its edge. Each sample is a Gaussian kernel, renormalised inside the
    range. Per dimension and step the entropy is
    (H(mean of kernels) - mean of H(kernel)) / (log(bins) - mean of H(kernel)): 0 for identical
    samples wherever they lie, 1 for a uniform distribution, never negative (Jensen).
    K = 1 gives a distribution of 1 sample, which is none; None where a sample is not finite.
    """
    samples = np.asarray(samples, np.float64)
    _check_samples(samples, low, high)
    if not np.isfinite(samples).all():
        return None
    if len(samples) == 1:
        return ActionDistribution(1, 0.0, 0.0)
    place = np.clip((samples - low) / (np.asarray(high) - low) * bins, 0.0, bins)
    kernels = _kernels(place, bins)
    mixture = kernels.mean(axis=0)
    alone = _entropy(kernels).mean(axis=0)
    entropy = (_entropy(mixture) - alone) / (np.log(bins) - alone)
    return _averaged(len(samples), entropy, mixture)


def distribution_of_logits(logits: FloatArray) -> ActionDistribution | None:
    """Of a policy with action tokens: logits [steps, dims, bins], a softmax over bins for each.

    None where a logit is NaN or +inf; -inf is a bin that can't be.
    """
    logits = np.asarray(logits, np.float64)
    if logits.ndim != 3 or logits.size == 0 or logits.shape[-1] < 2:
        raise SignalError(f"logits of shape {logits.shape}: [steps, dims, bins >= 2] is needed")
    top = logits.max(axis=-1, keepdims=True)
    if not np.isfinite(top).all():
        return None
    odds = np.exp(logits - top)
    probabilities = odds / odds.sum(axis=-1, keepdims=True)
    bins = logits.shape[-1]
    return _averaged(bins, _entropy(probabilities) / np.log(bins), probabilities)


def _check_samples(samples: FloatArray, low: FloatArray, high: FloatArray) -> None:
    if samples.ndim != 3 or samples.size == 0:
        raise SignalError(f"samples of shape {samples.shape}: [K, steps, dims] is needed")
    dims = samples.shape[-1]
    if np.shape(low) != (dims,) or np.shape(high) != (dims,):
        raise SignalError(f"the action range must have {dims} values, as the actions do")
    if not np.all(np.asarray(low) < np.asarray(high)):
        raise SignalError("the action range is empty in a dimension: low must be below high")


def _kernels(place: FloatArray, bins: int) -> FloatArray:
    """Probabilities [..., bins] of a Gaussian at place [...], in bins from the range's low end."""
    centres = np.arange(bins) + 0.5
    density = np.exp(-0.5 * ((centres - place[..., None]) / KERNEL_BINS) ** 2)
    return np.asarray(density / density.sum(axis=-1, keepdims=True))


def _entropy(probabilities: FloatArray) -> FloatArray:
    """In nats over the last axis; 0 log 0 is 0."""
    logs = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return np.asarray(-(probabilities * logs).sum(axis=-1))


def _averaged(samples: int, entropy: FloatArray, probabilities: FloatArray) -> ActionDistribution:
    return ActionDistribution(
        samples=samples,
        softmax_entropy=float(np.clip(entropy.mean(), 0.0, 1.0)),
        max_softmax_prob=float(probabilities.max(axis=-1).mean()),
    )
