"""All 12 signals of many streams in step with each other, vectorised over the streams.

For many simulations at once. Each stream has its own history, validity and resets; the numbers
are those of `SignalExtractor` to 1e-6.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salus_ros.interfaces import FloatArray
from salus_ros.signals.calibration import Calibration
from salus_ros.signals.config import SignalConfig
from salus_ros.signals.extractor import FEWEST_VOLATILITIES
from salus_ros.signals.latent import (
    FEWEST_EARLIER,
    SHRINKAGE,
    SMALLEST_NORM,
    SMALLEST_VARIANCE,
)
from salus_ros.signals.layout import (
    ACCELERATION,
    CONSISTENCY,
    DIVERGENCE,
    ENTROPY,
    LARGEST_SQUARE,
    LATENT_DRIFT,
    MAGNITUDE,
    MARGIN,
    MAX_PROB,
    MISMATCH,
    NORM_SPIKE,
    OOD_DISTANCE,
    SIGNALS,
    VOLATILITY,
    SignalError,
    masked,
)
from salus_ros.signals.recording import margins, normalised

BoolArray = NDArray[np.bool_]


class BatchSignalExtractor:
    """Signals of B streams; latent_width 0 where the policy has no latent."""

    def __init__(
        self,
        config: SignalConfig,
        streams: int,
        latent_width: int = 0,
        calibration: Calibration | None = None,
    ) -> None:
        calibrated = calibration is not None and calibration.latent_mean.size > 0
        self._calibration = calibration if calibrated else None
        if self._calibration is not None and latent_width:
            self._calibration.require(self._calibration.robot, 0, 0, latent_width)
        self._config = config
        self._streams, self._width = streams, latent_width
        dims, window = config.action_dims, config.window
        self._history = np.zeros((streams, window, dims))
        self._volatilities = np.zeros((streams, window))
        self._previous = np.zeros((streams, dims))
        self._before = np.zeros((streams, dims))
        self._count = np.zeros(streams, np.int64)
        self._chunk_columns = np.full((streams, MAX_PROB + 1 - LATENT_DRIFT), np.nan)
        self._latent = np.zeros((streams, latent_width))
        self._mean = np.zeros((streams, latent_width))
        self._squares = np.zeros((streams, latent_width))
        self._ema = np.zeros(streams)
        self._latents = np.zeros(streams, np.int64)

    def reset(self, which: BoolArray | None = None) -> None:
        """Forget the past of the streams in which [B], or of all."""
        rows = slice(None) if which is None else np.flatnonzero(which)
        for array in (
            *(self._history, self._volatilities, self._previous, self._before, self._count),
            *(self._latent, self._mean, self._squares, self._ema, self._latents),
        ):
            array[rows] = 0
        self._chunk_columns[rows] = np.nan

    def on_chunks(
        self,
        latents: FloatArray | None = None,
        entropy: FloatArray | None = None,
        max_prob: FloatArray | None = None,
        which: BoolArray | None = None,
    ) -> None:
        """Take over what belongs to new chunks of the streams in which [B], or of all.

        latents [B, width]; entropy, max_prob [B] in [0, 1]. NaN or None where there is none.
        """
        columns = np.full_like(self._chunk_columns, np.nan)
        chosen = np.ones(self._streams, bool) if which is None else np.asarray(which, bool)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if latents is not None:
                self._latent_columns(columns, np.asarray(latents, np.float64), chosen)
            for column, values in ((ENTROPY, entropy), (MAX_PROB, max_prob)):
                if values is not None:
                    inside = (values >= 0.0) & (values <= 1.0)
                    columns[:, column - LATENT_DRIFT] = np.where(inside, values, np.nan)
        self._chunk_columns[chosen] = columns[chosen]

    def _latent_columns(self, columns: FloatArray, h: FloatArray, chosen: BoolArray) -> None:
        if h.shape != self._latent.shape:
            raise SignalError(f"latents of shape {h.shape}: {self._latent.shape} is needed")
        sizes = (h**2).sum(axis=1)
        rows = np.flatnonzero(chosen & (sizes <= LARGEST_SQUARE) & (self._width > 0))
        h, norms, earlier = h[rows], np.sqrt(sizes[rows]), self._latents[rows]
        drift = np.linalg.norm(h - self._latent[rows], axis=1)
        columns[rows, 0] = np.where(earlier > 0, drift, np.nan)
        usual = self._ema[rows]
        spiking = (earlier > 0) & (usual > SMALLEST_NORM)
        columns[rows, NORM_SPIKE - LATENT_DRIFT] = np.where(spiking, norms / usual, np.nan)
        columns[rows, OOD_DISTANCE - LATENT_DRIFT] = self._distances(h, rows)
        self._ema[rows] = np.where(earlier > 0, usual + self._config.ema * (norms - usual), norms)
        self._latent[rows] = h
        self._latents[rows] += 1

    def _distances(self, h: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        if self._calibration is not None:
            whitening = self._calibration.latent_whitening
            offset = h @ whitening - self._calibration.latent_mean @ whitening
            return np.asarray(np.linalg.norm(offset, axis=1))
        earlier = self._latents[rows]
        offset = h - self._mean[rows]
        variances = self._squares[rows] / np.maximum(earlier, 1)[:, None]
        usual = variances.mean(axis=1)
        shrunk = (1.0 - SHRINKAGE) * variances + SHRINKAGE * usual[:, None]
        distance = np.sqrt((offset**2 / shrunk).mean(axis=1))
        self._mean[rows] += offset / (earlier + 1)[:, None]
        self._squares[rows] += offset * (h - self._mean[rows])
        known = (earlier >= FEWEST_EARLIER) & (usual >= SMALLEST_VARIANCE)
        return np.where(known, distance, np.nan)

    def step(
        self,
        actions: FloatArray,
        joints: FloatArray | None = None,
        predicted_joints: FloatArray | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        """Values [B, 12] float32 and bits [B] of the actions [B, dims] that are executed now.

        joints, predicted_joints [B, joints] rad; NaN or None where unknown.
        """
        if np.shape(actions) != self._previous.shape:
            raise SignalError(
                f"actions of shape {np.shape(actions)}: {self._previous.shape} is needed"
            )
        values = np.full((self._streams, SIGNALS), np.nan)
        values[:, LATENT_DRIFT : MAX_PROB + 1] = self._chunk_columns
        with np.errstate(over="ignore", invalid="ignore"):
            a, usable = normalised(actions, self._config.normalisation)
            rows = np.flatnonzero(usable)
            self._action_columns(values, a[rows], rows)
            if joints is not None:
                self._joint_columns(values, np.asarray(joints, np.float64), predicted_joints)
        return masked(values)

    def _action_columns(self, values: FloatArray, a: FloatArray, rows: NDArray[np.intp]) -> None:
        count, window = self._count[rows], self._config.window
        step = a - self._previous[rows]
        bend = step - self._previous[rows] + self._before[rows]
        mean = self._history[rows].sum(axis=1) / np.clip(count, 1, window)[:, None]
        volatility = np.linalg.norm(step, axis=1)
        values[rows, MAGNITUDE] = np.linalg.norm(a, axis=1)
        for column, fewest, signal in (
            (VOLATILITY, 1, volatility),
            (ACCELERATION, 2, np.linalg.norm(bend, axis=1)),
            (DIVERGENCE, 1, np.linalg.norm(a - mean, axis=1)),
        ):
            values[rows, column] = np.where(count >= fewest, signal, np.nan)
        moved = rows[count > 0]
        self._volatilities[moved, (self._count[moved] - 1) % window] = volatility[count > 0]
        self._history[rows, count % window] = a
        self._before[rows], self._previous[rows] = self._previous[rows], a
        values[rows, CONSISTENCY] = self._deviations(rows)
        self._count[rows] += 1

    def _deviations(self, rows: NDArray[np.intp]) -> FloatArray:
        """Signal 12; before an action is counted, its number is that of the volatilities."""
        known = np.minimum(self._count[rows], self._config.window)
        filled = np.arange(self._config.window) < known[:, None]
        some = np.maximum(known, 1)
        offset = self._volatilities[rows] - (self._volatilities[rows].sum(axis=1) / some)[:, None]
        deviation = np.sqrt((np.where(filled, offset, 0.0) ** 2).sum(axis=1) / some)
        return np.where(known >= FEWEST_VOLATILITIES, deviation, np.nan)

    def _joint_columns(
        self, values: FloatArray, q: FloatArray, predicted: FloatArray | None
    ) -> None:
        usable = (q**2).sum(axis=1) <= LARGEST_SQUARE
        if predicted is not None:
            values[:, MISMATCH] = np.linalg.norm(q - predicted, axis=1)
        values[:, MARGIN] = margins(q, self._config)
        values[~usable, MISMATCH : MARGIN + 1] = np.nan
