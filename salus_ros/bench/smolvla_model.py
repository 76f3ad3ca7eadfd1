"""A SmolVLA of any size with random weights, made offline: what the speed and the tests need."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

SPECIAL_TOKENS = {
    "fake_image_token": "<fake_token_around_image>",
    "image_token": "<image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}
WORDS = (
    "pick",
    "up",
    "the",
    "red",
    "blue",
    "green",
    "block",
    "and",
    "put",
    "it",
    "into",
    "on",
    "box",
)
DIMS = 8  # of state and action: seven joints and a gripper


@dataclass(frozen=True, slots=True)
class SmolVLASize:
    """Sizes of the language model, the vision model and the expert."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head: int
    vocabulary: int
    vision_hidden: int
    vision_intermediate: int
    vision_layers: int
    vision_heads: int
    image: int
    patch: int
    tokens: int
    chunk: int
    expert_width: float


TINY = SmolVLASize(
    name="tiny",
    hidden=64,
    intermediate=128,
    layers=4,
    heads=4,
    key_value_heads=2,
    head=16,
    vocabulary=64,
    vision_hidden=32,
    vision_intermediate=64,
    vision_layers=2,
    vision_heads=2,
    image=64,
    patch=8,
    tokens=12,
    chunk=10,
    expert_width=0.5,
)
FULL = SmolVLASize(
    name="full",
    hidden=960,
    intermediate=2560,
    layers=16,
    heads=15,
    key_value_heads=5,
    head=64,
    vocabulary=49280,
    vision_hidden=768,
    vision_intermediate=3072,
    vision_layers=12,
    vision_heads=12,
    image=512,
    patch=16,
    tokens=48,
    chunk=50,
    expert_width=0.75,
)
SIZES = {size.name: size for size in (TINY, FULL)}


def make_vision_language_model(folder: Path, size: SmolVLASize) -> None:
    """Save the configuration and the processor that SmolVLA is built from; no weights."""
    text = {
        "model_type": "llama",
        "hidden_size": size.hidden,
        "intermediate_size": size.intermediate,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_value_heads,
        "head_dim": size.head,
        "vocab_size": size.vocabulary,
    }
    vision = {
        "hidden_size": size.vision_hidden,
        "intermediate_size": size.vision_intermediate,
        "num_hidden_layers": size.vision_layers,
        "num_attention_heads": size.vision_heads,
        "image_size": size.image,
        "patch_size": size.patch,
    }
    tokenizer = _tokenizer()
    SmolVLMConfig(
        text_config=text,
        vision_config=vision,
        scale_factor=4,
        image_token_id=tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS["image_token"]),
    ).save_pretrained(folder)
    SmolVLMProcessor(SmolVLMImageProcessor(), tokenizer, SmolVLMVideoProcessor()).save_pretrained(
        folder
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    names = ["<pad>", "<unk>", *SPECIAL_TOKENS.values(), *WORDS]
    vocabulary = {name: number for number, name in enumerate(names)}
    base = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=base,
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=SPECIAL_TOKENS,
    )


def smolvla_config(
    vlm: Path, size: SmolVLASize, cameras: tuple[str, ...], **options: Any
) -> SmolVLAConfig:
    """Configuration of a policy with these cameras, a state and actions of DIMS values.

    vlm: folder that make_vision_language_model wrote. options: fields that differ.
    """
    features = {
        f"observation.images.{camera}": PolicyFeature(
            FeatureType.VISUAL, (3, size.image, size.image)
        )
        for camera in cameras
    }
    features["observation.state"] = PolicyFeature(FeatureType.STATE, (DIMS,))
    fields: dict[str, Any] = {
        "input_features": features,
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, (DIMS,))},
        "vlm_model_name": str(vlm),
        "resize_imgs_with_padding": (size.image, size.image),
        "tokenizer_max_length": size.tokens,
        "chunk_size": size.chunk,
        "n_action_steps": size.chunk,
        "num_vlm_layers": size.layers,
        "expert_width_multiplier": size.expert_width,
        "device": "cpu",
        **options,
    }
    return SmolVLAConfig(**fields)


def make_policy(config: SmolVLAConfig, seed: int = 0) -> SmolVLAPolicy:
    """A policy with random weights, in evaluation mode on the configuration's device."""
    torch.manual_seed(seed)
    # LeRobot prints what it builds.
    with contextlib.redirect_stdout(io.StringIO()):
        policy = SmolVLAPolicy(config)
    return policy.to(config.device).eval()


def statistics() -> dict[str, dict[str, torch.Tensor]]:
    """Normalisation of states and actions, as a data set would bring it."""
    spread = torch.linspace(0.5, 1.5, DIMS)
    centre = torch.linspace(-0.4, 0.4, DIMS)
    one = {
        "mean": centre,
        "std": spread,
        "min": centre - 3 * spread,
        "max": centre + 3 * spread,
    }
    return {"observation.state": one, "action": dict(one)}


def save_policy(policy: SmolVLAPolicy, folder: Path) -> None:
    """Save weights, configuration and processors as LeRobot's training does."""
    policy.save_pretrained(folder)
    for processor in make_smolvla_pre_post_processors(policy.config, statistics()):
        processor.save_pretrained(folder)
