"""What the network is also asked in training: where the blocks are. Not part of the policy.

Without these a network of this size takes many times as long to find out that positions matter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from salus_ros.policy.flow.config import FlowConfig
from salus_ros.policy.flow.network import Mlp

_CENTRE = (0.48, 0.0, 0.05)
_SCALE = 0.1
_COLORS = 4


class Auxiliary(nn.Module):
    """All blocks by colour, and the wanted one against the tool, from the prefix's tokens."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        tokens = len(config.cameras) * config.image_tokens + 2
        self.blocks = Mlp(tokens * config.width, 256, _COLORS * 6)
        self.wanted = Mlp(tokens * config.width, 256, 5)
        self.register_buffer("centre", torch.tensor(_CENTRE), persistent=False)

    def forward(
        self, tokens: Tensor, blocks: Tensor, wanted: Tensor, tool: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Losses of both.

        tokens [batch, tokens, width]. blocks [batch, colours, 5] (there, x, y, z, yaw). wanted
        [batch]: colour index. tool [batch, 4]: x, y, z, yaw.
        """
        guess = self.blocks(tokens.flatten(1)).float().view(-1, _COLORS, 6)
        there = blocks[..., 0]
        truth = torch.cat([(blocks[..., 1:4] - self.centre) / _SCALE, _turn(blocks[..., 4])], -1)
        where = functional.smooth_l1_loss(guess[..., 1:], truth, reduction="none").mean(-1)
        seen = functional.binary_cross_entropy_with_logits(guess[..., 0], there)
        first = (where * there).sum() / there.sum() + 0.1 * seen
        block = blocks[torch.arange(len(blocks)), wanted]
        relative = torch.cat(
            [(block[:, 1:4] - tool[:, :3]) / _SCALE, _turn(block[:, 4] - tool[:, 3])], -1
        )
        guess = self.wanted(tokens.flatten(1)).float()
        return first, functional.smooth_l1_loss(guess, relative)


def _turn(yaw: Tensor) -> Tensor:
    """A square's yaw: the same every quarter turn."""
    return torch.stack([(4 * yaw).cos(), (4 * yaw).sin()], -1)
