"""All 12 signals of a whole recording at once, equal to the stepwise ones to 1e-6.

Vectorised over steps; only the latents' recursions (moving average, running moments) go chunk by
chunk, through the same code as in extractor.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from salus_ros.interfaces import ActionDistribution, FloatArray
from salus_ros.signals.calibration import Calibration
from salus_ros.signals.config import Normalisation, SignalConfig
from salus_ros.signals.extractor import FEWEST_VOLATILITIES, MARGIN_START, distribution_signals
from salus_ros.signals.latent import LatentSignals
from salus_ros.signals.layout import (
    ACCELERATION,
    CONSISTENCY,
    DIVERGENCE,
    LARGEST_SQUARE,
    LATENT_DRIFT,
    MAGNITUDE,
    MARGIN,
    MAX_PROB,
    MISMATCH,
    SIGNALS,
    VOLATILITY,
    SignalError,
    masked,
)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What was executed, [T] steps of it, in the policy's units and radians.

    actions [T, dims]. chunk_of_step [T]: index of the chunk that each step was of, -1 for none.
    latents [N, width] of the chunks, NaN rows where there was none; distributions of the N chunks.
    joints, predicted_joints [T, joints], NaN where unknown. resets [T]: True where history begins
    anew before that step (episode, instruction, source). None: there is none of it.
    """

    actions: FloatArray
    chunk_of_step: NDArray[np.int64] | None = None
    latents: FloatArray | None = None
    distributions: tuple[ActionDistribution | None, ...] | None = None
    joints: FloatArray | None = None
    predicted_joints: FloatArray | None = None
    resets: NDArray[np.bool_] | None = None

    def check(self, config: SignalConfig) -> None:
        """Raise SignalError where a shape is wrong."""
        shape = np.shape(self.actions)
        if len(shape) != 2 or shape[1] != config.action_dims:
            raise SignalError(f"actions of shape {shape}: [steps, {config.action_dims}] are needed")
        for name in ("chunk_of_step", "joints", "predicted_joints", "resets"):
            value = getattr(self, name)
            if value is not None and len(value) != shape[0]:
                raise SignalError(f"{name} has {len(value)} steps, the actions have {shape[0]}")
        chunks = -1 if self.chunk_of_step is None else int(np.max(self.chunk_of_step, initial=-1))
        for name in ("latents", "distributions"):
            value = getattr(self, name)
            if value is not None and len(value) <= chunks:
                raise SignalError(f"{name} has {len(value)} chunks, step counts {chunks + 1}")


def recording_signals(
    config: SignalConfig, recording: Recording, calibration: Calibration | None = None
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Values [T, 12] float32 and validity bits [T] of a recording."""
    recording.check(config)
    steps = len(recording.actions)
    values = np.full((steps, SIGNALS), np.nan)
    resets = np.zeros(steps, bool) if recording.resets is None else recording.resets.astype(bool)
    bounds = [0, *(np.flatnonzero(resets[1:]) + 1), steps]
    with np.errstate(over="ignore", invalid="ignore"):
        for first, end in pairwise(bounds):
            part = slice(int(first), int(end))
            action_columns(values[part], recording.actions[part], config)
            _chunk_columns(values[part], recording, part, LatentSignals(config.ema, calibration))
        _joint_columns(values, recording, config)
    return masked(values)


def normalised(
    actions: FloatArray, norm: Normalisation | None
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Actions [..., dims] normalised, 0 where they can't be used, and where they can be [...]."""
    actions = np.asarray(actions, np.float64)
    usable = (actions**2).sum(axis=-1) <= LARGEST_SQUARE
    actions = np.where(usable[..., None], actions, 0.0)
    if norm is not None:
        actions = norm.apply(actions)
        usable &= (actions**2).sum(axis=-1) <= LARGEST_SQUARE
    return np.where(usable[..., None], actions, 0.0), usable


def action_columns(values: FloatArray, actions: FloatArray, config: SignalConfig) -> None:
    """Fill signals 1, 2, 3, 4 and 12 of values [T, 12], which holds NaN, without a reset inside."""
    prepared, usable = normalised(actions, config.normalisation)
    rows = np.flatnonzero(usable)
    a = prepared[rows]
    values[rows, MAGNITUDE] = np.linalg.norm(a, axis=1)
    if len(a) < 2:
        return
    steps = np.diff(a, axis=0)
    volatility = np.linalg.norm(steps, axis=1)
    values[rows[1:], VOLATILITY] = volatility
    values[rows[2:], ACCELERATION] = np.linalg.norm(np.diff(steps, axis=0), axis=1)
    values[rows[1:], DIVERGENCE] = np.linalg.norm(a[1:] - _mean_before(a, config.window), axis=1)
    values[rows[1:], CONSISTENCY] = _trailing_deviation(volatility, config.window)


def _mean_before(a: FloatArray, window: int) -> FloatArray:
    """Mean [T - 1, dims] of the up to `window` rows before each row but the first."""
    padded = np.concatenate([np.zeros((window - 1, a.shape[1])), a[:-1]])
    counts = np.minimum(np.arange(1, len(a)), window)
    return np.asarray(sliding_window_view(padded, window, axis=0).sum(axis=-1) / counts[:, None])


def _trailing_deviation(volatility: FloatArray, window: int) -> FloatArray:
    """Standard deviation of each value and those before it; NaN where they are too few."""
    padded = np.concatenate([np.zeros(window - 1), volatility])
    known = np.concatenate([np.zeros(window - 1), np.ones(len(volatility))])
    counts = sliding_window_view(known, window).sum(axis=1)
    windows = sliding_window_view(padded, window)
    means = windows.sum(axis=1) / counts
    offsets = (windows - means[:, None]) * sliding_window_view(known, window)
    deviation = np.sqrt((offsets**2).sum(axis=1) / counts)
    return np.where(counts >= FEWEST_VOLATILITIES, deviation, np.nan)


def _chunk_columns(
    values: FloatArray, recording: Recording, part: slice, latents: LatentSignals
) -> None:
    """Signals 5 to 9: computed where another chunk begins, held from there on."""
    if recording.chunk_of_step is None:
        return
    chunks = recording.chunk_of_step[part]
    begins = np.flatnonzero(np.diff(chunks, prepend=-2))
    for begin, end in zip(begins, [*begins[1:], len(chunks)], strict=True):
        chunk = int(chunks[begin])
        if chunk < 0:
            continue
        latent = None if recording.latents is None else recording.latents[chunk]
        distribution = None if recording.distributions is None else recording.distributions[chunk]
        values[begin:end, LATENT_DRIFT : MAX_PROB + 1] = (
            *latents.update(latent),
            *distribution_signals(distribution),
        )


def _joint_columns(values: FloatArray, recording: Recording, config: SignalConfig) -> None:
    if recording.joints is None:
        return
    q = np.asarray(recording.joints, np.float64)
    usable = (q**2).sum(axis=1) <= LARGEST_SQUARE
    if recording.predicted_joints is not None:
        if q.shape != recording.predicted_joints.shape:
            raise SignalError("joints and predicted_joints have different shapes")
        mismatch = np.linalg.norm(q - recording.predicted_joints, axis=1)
        values[usable, MISMATCH] = mismatch[usable]
    values[usable, MARGIN] = margins(q, config)[usable]


def margins(q: FloatArray, config: SignalConfig) -> FloatArray:
    """Signal 11 of joints [..., joints]; NaN where the limits are unknown."""
    if config.joint_low is None or config.joint_high is None:
        return np.full(q.shape[:-1], np.nan)
    if q.shape[-1] != np.size(config.joint_low):
        raise SignalError(
            f"{q.shape[-1]} joints are measured, the joint limits are {np.size(config.joint_low)}"
        )
    nearest = np.minimum(q - config.joint_low, config.joint_high - q).min(axis=-1)
    return np.asarray(np.maximum(0.0, MARGIN_START - nearest))
