"""The network: a causal convolution over a window of 2 ** layers steps, one tree of pairs.

Layer l joins what was computed 2 ** l steps ago with what was computed now, so that the last layer
sees the window and nothing else. All forms compute the same: over whole episodes (training,
evaluation), and over one window in numpy, where only the pairs that the newest step needs are
computed. Kernel and dilation of two: van den Oord et al., "WaveNet", 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salus_ros.prediction.features import FEATURES
from salus_ros.prediction.layout import FAILURE_TYPES, HORIZONS

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """layers: the window is 2 ** layers steps. hidden: channels. inputs: features of a step.

    outputs: horizons x types, then one for the episode.
    """

    layers: int = 5
    hidden: int = 40
    inputs: int = FEATURES
    horizons: int = len(HORIZONS)
    types: int = len(FAILURE_TYPES)

    @property
    def window(self) -> int:
        """Steps that one output depends on."""
        return int(2**self.layers)

    @property
    def outputs(self) -> int:
        """Numbers that the last layer gives."""
        return self.horizons * self.types + 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all weights."""
        shapes: dict[str, tuple[int, ...]] = {}
        width = self.inputs
        for layer in range(self.layers):
            shapes[f"layer{layer}.weight"] = (2 * width, self.hidden)
            shapes[f"layer{layer}.bias"] = (self.hidden,)
            width = self.hidden
        shapes["head.weight"] = (self.hidden, self.outputs)
        shapes["head.bias"] = (self.outputs,)
        return shapes

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(int(np.prod(shape)) for shape in self.shapes().values())


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """Logits: horizons [..., horizons, types], never falling over horizons, and episode [...]."""

    horizons: Array
    episode: Array


class Network:
    """Inference in numpy.

    weights: see NetworkConfig.shapes. masks [members, layers, hidden]: factors on the channels of
    each layer; the logits are averaged over members. One member of ones: no dropout.
    """

    def __init__(
        self, config: NetworkConfig, weights: dict[str, Array], masks: Array | None = None
    ) -> None:
        """Raises ValueError where a weight is missing or of another shape."""
        for name, shape in config.shapes().items():
            found = weights[name].shape if name in weights else ()
            if found != shape:
                raise ValueError(f"weight '{name}' has shape {found}, {shape} is needed")
        self.config = config
        self.weights = weights
        self.masks: Array = np.ones((1, config.layers, config.hidden), np.float32)
        if masks is not None:
            self.masks = np.asarray(masks, np.float32)

    def last(self, window: Array) -> Outputs:
        """At the newest step of features [window, inputs]."""
        rows = np.broadcast_to(window, (len(self.masks), *window.shape))
        for layer in range(self.config.layers):
            pairs = rows.reshape(rows.shape[0], -1, 2 * rows.shape[-1])
            rows = self._layer(layer, pairs, rows[:, 1::2])
        return self._heads(rows[:, 0].mean(axis=0))

    def recording(self, steps: Array) -> Outputs:
        """At each step of features [T, inputs] of an episode; before it there was nothing."""
        before = np.zeros((self.config.window - 1, steps.shape[1]), np.float32)
        rows = np.concatenate([before, steps])[None].repeat(len(self.masks), 0)
        for layer in range(self.config.layers):
            back = 2**layer
            pairs = np.concatenate([rows[:, :-back], rows[:, back:]], axis=-1)
            rows = self._layer(layer, pairs, rows[:, back:])
        return self._heads(rows.mean(axis=0))

    def _layer(self, layer: int, pairs: Array, newer: Array) -> Array:
        weights = self.weights
        joined = pairs @ weights[f"layer{layer}.weight"] + weights[f"layer{layer}.bias"]
        found = np.maximum(joined, 0.0) * self.masks[:, layer, None]
        rows: Array = found if layer == 0 else newer + found
        return rows

    def _heads(self, rows: Array) -> Outputs:
        config = self.config
        raw = rows @ self.weights["head.weight"] + self.weights["head.bias"]
        table = raw[..., :-1].reshape(*raw.shape[:-1], config.horizons, config.types)
        rises = np.logaddexp(table[..., 1:, :], 0.0)
        steps = np.concatenate([table[..., :1, :], rises], axis=-2)
        return Outputs(np.cumsum(steps, axis=-2, dtype=np.float32), raw[..., -1])
