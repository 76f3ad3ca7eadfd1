"""What SmolVLA sees, as keys and values for its action expert: computed once per chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from salus_ros.policy.early_exit.hook import AfterLayer, run_in_full
from salus_ros.policy.lerobot.smolvla.layers import (
    DecoderLayer,
    attend,
    cross_attends,
    rms_norm,
    rotate,
    rotation,
    wavelengths,
)
from salus_ros.policy.lerobot.smolvla.vision import ImageEncoder


@dataclass(frozen=True, slots=True)
class SmolVLAInputs:
    """One observation, normalised.

    images [cameras, 3, height, width] float32 in [-1, 1]. tokens [T] of the instruction,
    token_valid [T] bool: false for padding; None where no token is padding. state [max_state_dim]
    float32.
    """

    images: Tensor
    tokens: Tensor
    token_valid: Tensor | None
    state: Tensor


@dataclass(slots=True)
class Prefix:
    """Keys and values of the prefix, L tokens, for each layer of the expert, and what they mean.

    keys, values: [S, K, L + chunk, D] of a layer where the expert also attends to its own tokens
    (room behind the prefix for them, one copy for each of S samples), else [1, K, L, D].
    valid [L] bool: false for padding; None: all are. count []: valid tokens. latent [width]
    float32: their mean hidden state.
    """

    length: int
    keys: list[Tensor]
    values: list[Tensor]
    valid: Tensor | None
    count: Tensor
    latent: Tensor


class PrefixEncoder:
    """Images, instruction and state through vision and language model.

    image_size: (height, width) in pixels; absent: image features that no camera gives, which are
    masked; samples: action samples that will share the prefix. The last language layer only gives
    keys and values: its hidden states are used by nothing, so they are not computed, and the
    latent is the normalised hidden state that enters it.
    """

    def __init__(self, model: Any, image_size: tuple[int, int], absent: int, samples: int) -> None:
        language = model.vlm_with_expert
        vlm = language.get_vlm_model()
        self._images = ImageEncoder(vlm.vision_model, vlm.connector, image_size)
        self._words = vlm.text_model.get_input_embeddings().weight
        self._state = model.state_proj
        self.layers = [DecoderLayer(layer) for layer in vlm.text_model.layers]
        self._norm = vlm.text_model.norm
        self._wavelengths = wavelengths(self.layers[0].head, self._words.device)
        self._cross = cross_attends(model.config, len(self.layers))
        self._projections = [layer.self_attn for layer in language.lm_expert.layers]
        self._chunk = int(model.config.chunk_size)
        self._samples = samples
        self._before, self._after = self._image_marks(model)
        self._absent = self._before[:0].repeat(absent, 1)
        if absent and len(self._before):
            self._absent = torch.cat((self._before, self._after)).repeat(absent, 1)

    def _image_marks(self, model: Any) -> tuple[Tensor, Tensor]:
        """Embeddings [n, width] that stand before and behind each image; none where unused."""
        if not model.add_image_special_tokens:
            return self._words[:0], self._words[:0]
        device = self._words.device
        return (
            F.embedding(model.global_image_start_token.to(device), self._words),
            F.embedding(model.image_end_token.to(device), self._words),
        )

    def __call__(self, inputs: SmolVLAInputs, after_layer: AfterLayer = run_in_full) -> Prefix:
        """Encode one observation.

        after_layer is asked after each language layer but the last, whose MLP doesn't run.
        """
        hidden = self._embed(inputs)
        valid = self._valid(inputs, hidden.shape[1])
        positions = _positions(hidden.shape[1], valid, hidden.device)
        turn = rotation(positions, self._wavelengths)
        allowed = self._allowed(hidden.shape[1], valid, hidden.device)
        keys, values, skip = [], [], 0.0
        for number, layer in enumerate(self.layers):
            queries, key, value = layer.project(hidden)
            key = rotate(key, turn)
            expert_key, expert_value = self._for_expert(number, key, value)
            keys.append(expert_key)
            values.append(expert_value)
            if number < len(self.layers) - 1:
                seen = attend(rotate(queries, turn), key, value, allowed)
                hidden = layer.finish(hidden, seen, skip)
                skip = after_layer(number, hidden)
        count = positions[-1] + 1
        return Prefix(
            hidden.shape[1], keys, values, valid, count, self._latent(hidden, valid, count)
        )

    def _embed(self, inputs: SmolVLAInputs) -> Tensor:
        """[1, L, width]: images, then instruction, then state, in LeRobot's order."""
        images = self._images(inputs.images)
        pieces = []
        for image in images:
            pieces += [self._before, image, self._after]
        words = F.embedding(inputs.tokens, self._words)
        state = self._state(inputs.state)[None]
        pieces += [self._absent, words * words.shape[-1] ** 0.5, state.to(words.dtype)]
        return torch.cat(pieces)[None]

    def _valid(self, inputs: SmolVLAInputs, length: int) -> Tensor | None:
        if inputs.token_valid is None:
            return None
        valid = torch.ones(length, dtype=torch.bool, device=inputs.tokens.device)
        valid[-1 - len(inputs.tokens) : -1] = inputs.token_valid
        return valid

    def _allowed(self, length: int, valid: Tensor | None, device: torch.device) -> Tensor:
        """[G * L, L]: images and instruction see each other, the state, last, sees all.

        Padding sees what others see: its outputs are used by nobody, but must stay finite.
        """
        allowed = torch.ones(length, length, dtype=torch.bool, device=device)
        allowed[:-1, -1] = False
        if valid is not None:
            allowed &= valid
        layer = self.layers[0]
        return allowed.repeat(layer.heads // layer.groups, 1)

    def _for_expert(self, number: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if self._cross[number]:
            projection = self._projections[number]
            return (
                _projected(key, projection.k_proj.weight, projection.head_dim),
                _projected(value, projection.v_proj.weight, projection.head_dim),
            )
        return self._with_room(key), self._with_room(value)

    def _with_room(self, heads: Tensor) -> Tensor:
        """[1, K, L, D] with room for the expert's own tokens behind, once per sample."""
        _, groups, length, width = heads.shape
        whole = heads.new_empty(self._samples, groups, length + self._chunk, width)
        whole[:, :, :length] = heads
        return whole

    def _latent(self, hidden: Tensor, valid: Tensor | None, count: Tensor) -> Tensor:
        normal = rms_norm(hidden[0], self._norm).float()
        if valid is None:
            return normal.mean(dim=0)
        return (normal * valid[:, None]).sum(dim=0) / count


def _positions(length: int, valid: Tensor | None, device: torch.device) -> Tensor:
    """[L]: the number of valid tokens before each; padding repeats the last one's."""
    if valid is None:
        return torch.arange(length, device=device)
    return torch.cumsum(valid, dim=0) - 1


def _projected(heads: Tensor, weight: Tensor, width: int) -> Tensor:
    """[1, K, L, D] of the language model as the expert's [1, K', L, D']."""
    flat = heads.transpose(1, 2).flatten(2)
    return F.linear(flat, weight).unflatten(2, (-1, width)).transpose(1, 2).contiguous()
