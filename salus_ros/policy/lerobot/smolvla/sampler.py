"""SmolVLA from a normalised observation to normalised actions: eager, or as two CUDA graphs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from lerobot.policies.smolvla.modeling_smolvla import pad_vector, resize_with_pad
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS, OBS_STATE
from torch import Tensor

from salus_ros.interfaces import EarlyExit
from salus_ros.policy.backend import PolicyError
from salus_ros.policy.cuda_graph import Captured
from salus_ros.policy.early_exit.cascade import ExitRule
from salus_ros.policy.early_exit.hook import run_in_full
from salus_ros.policy.lerobot.smolvla.expert import ActionExpert
from salus_ros.policy.lerobot.smolvla.prefix import Prefix, PrefixEncoder, SmolVLAInputs
from salus_ros.policy.stage_clock import StageClock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one pass brought.

    actions [S, chunk, max_action_dim] and latent [width], float32 on the policy's device, valid
    until the next pass. stage_seconds: `prefix` (vision and language model) and `expert`.
    """

    actions: Tensor
    latent: Tensor
    stage_seconds: dict[str, float]
    exits: tuple[EarlyExit, ...] = ()


def obstacle(config: Any) -> str:
    """Why this SmolVLA can't take the fast path, "" where it can; it then runs as LeRobot's."""
    if config.adapt_to_pi_aloha:
        return "adapt_to_pi_aloha is set"
    if config.rtc_config is not None and config.rtc_config.enabled:
        return "LeRobot's real-time chunking is set (use this node's merging: rtc)"
    if 0 < config.num_expert_layers != config.num_vlm_layers:
        return f"{config.num_expert_layers} expert layers on {config.num_vlm_layers} of the VLM"
    if config.resize_imgs_with_padding is None:
        return "resize_imgs_with_padding is not set, so images have no known size"
    return ""


class SmolVLASampler:
    """The numbers of SmolVLAPolicy.predict_action_chunk, for S noise draws on one prefix.

    policy: a LeRobot SmolVLAPolicy on its device, of which weights are used in place; image_keys:
    its image features that are given, in its own order; samples: S; graphs: capture prefix and
    expert once and replay them; without CUDA this falls back to eager. fixed_shapes: pad each
    instruction to the longest, as graphs need; None: only for graphs, else padding is left out.
    exits: early exit, whose narrow MLPs are installed in `layers`; not with graphs, whose prefix
    has no place to decide in: ValueError.
    """

    def __init__(
        self,
        policy: Any,
        image_keys: tuple[str, ...],
        samples: int = 1,
        graphs: bool = True,
        fixed_shapes: bool | None = None,
        exits: ExitRule | None = None,
    ) -> None:
        config = policy.config
        problem = obstacle(config)
        if problem:
            raise ValueError(f"no fast path for this SmolVLA: {problem}")
        self._config = config
        self._device = torch.device(config.device)
        self._image_keys = image_keys
        width, height = config.resize_imgs_with_padding
        absent = min(len(config.image_features) - len(image_keys), config.empty_cameras)
        with torch.inference_mode():
            self.encode = PrefixEncoder(policy.model, (height, width), absent, samples)
            self.expert = ActionExpert(policy.model)
        self.noise_shape = (samples, config.chunk_size, config.max_action_dim)
        self.graphs = graphs and self._device.type == "cuda"
        self._fixed_shapes = self.graphs or bool(fixed_shapes)
        if graphs and not self.graphs:
            log.warning("no CUDA graphs on '%s': SmolVLA runs eagerly", self._device)
        self._captured: _Graphs | None = None
        self._exits = exits
        if exits and self.graphs:
            raise ValueError("early exit decides while the prefix runs: set graphs to False")

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def __call__(self, batch: dict[str, Any], noise: Tensor) -> Sample:
        """One pass.

        batch: an observation as SmolVLA's own pre-processor leaves it, batch size 1. noise: of
        noise_shape, float32, on the policy's device.
        """
        inputs = self._inputs(batch)
        clock = StageClock(self._device)
        cascade = self._exits.begin() if self._exits else None
        if not self.graphs:
            prefix = self.encode(inputs, cascade.after_layer if cascade else run_in_full)
            clock.mark("prefix")
            actions = self.expert(noise, prefix, float(cascade.skips[0]) if cascade else 0.0)
        else:
            captured = self._graphs(inputs, noise)
            prefix = captured.encode()
            clock.mark("prefix")
            actions = captured.expert()
        clock.mark("expert")
        exits = cascade.exits() if cascade else ()
        return Sample(actions, prefix.latent, clock.seconds(), exits)

    def _graphs(self, inputs: SmolVLAInputs, noise: Tensor) -> _Graphs:
        if self._captured is None:
            self._captured = _Graphs(self.encode, self.expert, inputs, noise)
        self._captured.fill(inputs, noise)
        return self._captured

    def _inputs(self, batch: dict[str, Any]) -> SmolVLAInputs:
        tokens, valid = batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK]
        state = pad_vector(batch[OBS_STATE], self._config.max_state_dim)
        if len(tokens) != 1 or len(state) != 1:
            raise PolicyError(f"a batch of {len(state)} observations: SmolVLA's fast path takes 1")
        kept, mask = self._instruction(tokens[0], valid[0].bool())
        images = torch.cat([self._image(batch[key]) for key in self._image_keys])
        return SmolVLAInputs(images, kept, mask, state[0])

    def _image(self, image: Tensor) -> Tensor:
        """[1, 3, height, width] in [0, 1], of any size, as the vision model takes it."""
        resized = resize_with_pad(image, *self._config.resize_imgs_with_padding, pad_value=0)
        scaled: Tensor = resized * 2.0 - 1.0
        return scaled

    def _instruction(self, tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor | None]:
        """Without padding where shapes may differ, else padded to the longest instruction."""
        if not self._fixed_shapes:
            return tokens[valid], None
        room = self._config.tokenizer_max_length - len(tokens)
        if room < 0:
            raise PolicyError(
                f"the instruction has {len(tokens)} tokens, this policy takes "
                f"{self._config.tokenizer_max_length}: make it shorter"
            )
        pad = torch.nn.functional.pad
        return pad(tokens, (0, room)), pad(valid, (0, room))


class _Graphs:
    """Prefix and expert captured, and the buffers that they read."""

    def __init__(
        self, encode: PrefixEncoder, expert: ActionExpert, inputs: SmolVLAInputs, noise: Tensor
    ) -> None:
        assert inputs.token_valid is not None
        self._valid = inputs.token_valid.clone()
        self._inputs = SmolVLAInputs(
            inputs.images.clone(), inputs.tokens.clone(), self._valid, inputs.state.clone()
        )
        self._noise = noise.clone()
        self.encode: Captured[Prefix] = Captured(lambda: encode(self._inputs))
        prefix = self.encode.result
        self.expert: Captured[Tensor] = Captured(
            lambda: expert(self._noise, prefix), self.encode.pool
        )

    def fill(self, inputs: SmolVLAInputs, noise: Tensor) -> None:
        """Put the next observation where the graphs read."""
        assert inputs.token_valid is not None
        self._inputs.images.copy_(inputs.images)
        self._inputs.tokens.copy_(inputs.tokens)
        self._valid.copy_(inputs.token_valid)
        self._inputs.state.copy_(inputs.state)
        self._noise.copy_(noise)
