"""SmolVLA's image encoder for images of one known size: nothing is built on the host."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImageEncoder:
    """Images [cameras, 3, height, width] in [-1, 1] to tokens [cameras, tokens, width].

    Positions are looked up once, and attention takes no mask, since every patch counts.
    """

    def __init__(self, model: Any, connector: Any, size: tuple[int, int]) -> None:
        self._model, self._connector = model, connector
        self._dtype = model.embeddings.patch_embedding.weight.dtype
        device = model.embeddings.patch_embedding.weight.device
        blank = torch.zeros(1, 3, *size, dtype=self._dtype, device=device)
        self._positions = _position_embeddings(model.embeddings, blank)
        tokens = self(blank)
        self.tokens: int = tokens.shape[1]
        self.width: int = tokens.shape[2]

    def __call__(self, images: Tensor) -> Tensor:
        """Encode all cameras as one batch; scaled as the language model's embeddings are."""
        patches = self._model.embeddings.patch_embedding(images.to(self._dtype))
        hidden = patches.flatten(2).transpose(1, 2) + self._positions
        for layer in self._model.encoder.layers:
            hidden = layer(hidden, None)
        tokens: Tensor = self._connector(self._model.post_layernorm(hidden))
        return tokens * tokens.shape[-1] ** 0.5


def _position_embeddings(embeddings: Any, blank: Tensor) -> Tensor:
    """[1, patches, width], as the model itself looks them up for images of this size and type."""
    found: list[Tensor] = []
    hook = embeddings.position_embedding.register_forward_hook(
        lambda _module, _inputs, output: found.append(output)
    )
    try:
        patch = embeddings.patch_size
        mask = torch.ones(
            1,
            blank.shape[2] // patch,
            blank.shape[3] // patch,
            dtype=torch.bool,
            device=blank.device,
        )
        embeddings(pixel_values=blank, patch_attention_mask=mask)
    finally:
        hook.remove()
    return found[0]
