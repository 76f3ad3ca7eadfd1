"""What turns a pre-processed observation into normalised actions: LeRobot's own way, or faster."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from lerobot.policies.utils import populate_queues
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE
from torch import Tensor

from salus_ros.policy.lerobot.smolvla.sampler import SmolVLASampler
from salus_ros.policy.stage_clock import StageClock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Actions [S, rows, dims] of S samples, in the policy's normalised units, and what else is.

    latent [width] float32, None where the policy has none.
    """

    actions: Tensor
    latent: Tensor | None = None
    stage_seconds: dict[str, float] = field(default_factory=dict)


class Runner(Protocol):
    """A policy between its processors."""

    def reset(self) -> None:
        """Forget the past."""

    def __call__(self, batch: dict[str, Any]) -> Drawn:
        """One chunk of an observation as the pre-processor leaves it."""


class LeRobotRunner:
    """Any policy as LeRobot runs it: one sample, no latent."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self._device = torch.device(policy.config.device)
        steps = policy.config.n_obs_steps
        if steps > 1:
            log.warning(
                "the policy looks at %d observations, a step apart in its training; here they are "
                "those of its last inferences, farther apart",
                steps,
            )

    def reset(self) -> None:
        """Forget past observations."""
        self._policy.reset()

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def __call__(self, batch: dict[str, Any]) -> Drawn:
        """One chunk."""
        clock = StageClock(self._device)
        actions = self._policy.predict_action_chunk(self._with_past(batch))
        clock.mark("policy")
        return Drawn(actions, stage_seconds=clock.seconds())

    def _with_past(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Policies with a history read it from queues that LeRobot fills in `select_action`."""
        batch = {key: value for key, value in batch.items() if key != ACTION}
        queues = getattr(self._policy, "_queues", None) or {}
        if OBS_STATE not in queues:
            return batch
        if OBS_IMAGES in queues:
            images = [batch[key] for key in self._policy.config.image_features]
            batch[OBS_IMAGES] = torch.stack(images, dim=-4)
        self._policy._queues = populate_queues(queues, batch)
        return batch


class SmolVLARunner:
    """SmolVLA's fast path: S samples on one prefix, and the prefix's latent.

    The noise is drawn once: for the same observation the same chunk comes, and successive chunks
    differ by what was seen alone.
    """

    def __init__(
        self, policy: Any, image_keys: tuple[str, ...], samples: int, seed: int, graphs: bool = True
    ) -> None:
        self._sampler = SmolVLASampler(policy, image_keys, samples, graphs)
        self._dims = policy.config.action_feature.shape[0]
        draw = torch.Generator().manual_seed(seed)
        noise = torch.randn(self._sampler.noise_shape, generator=draw)
        self._noise = noise.to(policy.config.device)

    def reset(self) -> None:
        """Nothing is kept from one observation to the next."""

    def __call__(self, batch: dict[str, Any]) -> Drawn:
        """One chunk and its other samples."""
        sample = self._sampler(batch, self._noise)
        return Drawn(sample.actions[:, :, : self._dims], sample.latent, sample.stage_seconds)
