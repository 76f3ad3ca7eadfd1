"""A low-rank probe: how risky is it to run the layers after this one at reduced width.

`LREProbe` reads hidden states after a checkpoint layer and gives the risk that `sedac_core` turns
into exits: risk = softplus(W2 · LayerNorm(W1 · h)), W1 of low rank without bias. It is trained on

- log(1 + entropy) of the full model's output, for a language model, or
- log(1 + relative action error) of the chunk that results when the layers after it run at the
  tested ratio, for a vision-language-action model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LARGEST_STATE = 1e4  # hidden states beyond this, or infinite, count as this


class LREProbe(nn.Module):  # type: ignore[misc]  # torch's types are not followed
    """Risk of each token from its hidden state; at most rank * (width + 3) + 1 parameters."""

    def __init__(self, width: int, rank: int = 64) -> None:
        """width: of the hidden state. ValueError unless 1 <= rank <= width."""
        super().__init__()
        if not 1 <= rank <= width:
            raise ValueError(f"rank is {rank}; it must be from 1 to the width, {width}")
        self.down = nn.Linear(width, rank, bias=False)
        self.norm = nn.LayerNorm(rank)
        self.up = nn.Linear(rank, 1)
        self.risk = nn.Softplus()

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the risk of each token, >= 0.

        hidden: [..., tokens, width], of any float type; NaN counts as 0. Returns [..., tokens]
        in the probe's type.
        """
        finite = torch.nan_to_num(
            hidden.to(self.down.weight.dtype),
            nan=0.0,
            posinf=LARGEST_STATE,
            neginf=-LARGEST_STATE,
        ).clamp(-LARGEST_STATE, LARGEST_STATE)
        risk: Tensor = self.risk(self.up(self.norm(self.down(finite)))).squeeze(-1)
        return risk

    def sequence_risk(self, hidden: Tensor) -> Tensor:
        """Return the risk of each sequence, the largest of its tokens.

        hidden: [..., tokens, width]. Returns [...].

        ValueError for a sequence without tokens.
        """
        if hidden.shape[-2] == 0:
            raise ValueError(f"hidden has shape {tuple(hidden.shape)}: a sequence without tokens")
        return self(hidden).amax(dim=-1)


def entropy_target(logits: Tensor) -> Tensor:
    """Return log(1 + entropy in nats) of the full model's output: [..., classes] to [...]."""
    entropy = torch.distributions.Categorical(logits=logits.float()).entropy()
    return torch.log1p(entropy)


def action_error_target(reduced: Tensor, full: Tensor) -> Tensor:
    """Return log(1 + |reduced - full| / |full|) of action chunks: [..., steps, joints] to [...].

    The norms run over steps and joints.
    """
    error = torch.linalg.vector_norm((reduced - full).float(), dim=(-2, -1))
    size = torch.linalg.vector_norm(full.float(), dim=(-2, -1))
    return torch.log1p(error / size.clamp_min(1e-6))


@dataclass(frozen=True)
class ProbeTraining:
    """How a probe is trained. huber_beta: where the loss turns from square to linear."""

    epochs: int = 20
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    huber_beta: float = 0.5
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        positive = (self.epochs, self.batch, self.learning_rate, self.huber_beta)
        if min(positive) <= 0 or self.weight_decay < 0 or not 0 < self.held_out < 1:
            raise ValueError(
                f"{self} is out of range: held_out lies between 0 and 1, weight_decay is not "
                "negative, all others are above 0"
            )


@dataclass(frozen=True)
class ProbeFit:
    """Mean Huber loss on held-out samples: before, at the kept epoch, and of the best constant."""

    loss_before: float
    loss: float
    loss_of_constant: float
    best_epoch: int


def clip_targets(targets: Tensor) -> Tensor:
    """Clip to the 1st and 99th percentile, so that a few outliers don't set the scale."""
    low, high = torch.quantile(targets.float(), torch.tensor([0.01, 0.99], device=targets.device))
    return targets.float().clamp(low, high)


def train_probe(
    probe: LREProbe,
    hidden: Tensor,
    targets: Tensor,
    training: ProbeTraining | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> ProbeFit:
    """Train a probe in place and keep its best epoch on held-out samples.

    hidden: [n, width], one token each, or [n, tokens, width], where the sequence's risk (the
    largest of its tokens) is what is trained. targets: [n], finite and >= 0. on_epoch(number from
    1, held-out loss) reports progress. ValueError for data that does not fit.
    """
    training = training or ProbeTraining()
    _check(hidden, targets, training)
    generator = torch.Generator().manual_seed(training.seed)
    order = torch.randperm(len(targets), generator=generator)
    held_out = max(1, round(training.held_out * len(targets)))
    test, train = order[:held_out], order[held_out:]
    # Percentiles of the training part alone: the held-out part judges, clipped to the same range.
    clipped = clip_targets(targets[train])
    judged = targets[test].float().clamp(clipped.min(), clipped.max())
    loss = nn.SmoothL1Loss(beta=training.huber_beta)

    def held_out_loss() -> float:
        probe.eval()
        with torch.inference_mode():
            return float(loss(_risk(probe, hidden[test]), judged))

    constant = float(loss(clipped.median().expand_as(judged), judged))
    before = held_out_loss()
    best = before, 0, _copy(probe)
    optimizer = torch.optim.AdamW(
        probe.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    for epoch in range(1, training.epochs + 1):
        probe.train()
        for chosen in torch.randperm(len(train), generator=generator).split(training.batch):
            optimizer.zero_grad(set_to_none=True)
            loss(_risk(probe, hidden[train[chosen]]), clipped[chosen]).backward()
            optimizer.step()
        current = held_out_loss()
        if current < best[0]:
            best = current, epoch, _copy(probe)
        if on_epoch is not None:
            on_epoch(epoch, current)
    probe.load_state_dict(best[2])
    probe.eval()
    return ProbeFit(before, best[0], constant, best[1])


def _check(hidden: Tensor, targets: Tensor, training: ProbeTraining) -> None:
    if hidden.ndim not in (2, 3) or targets.shape != hidden.shape[:1]:
        raise ValueError(
            f"hidden has shape {tuple(hidden.shape)} and targets {tuple(targets.shape)}; give "
            "[n, width] or [n, tokens, width], and [n]"
        )
    if len(targets) < 2:
        raise ValueError(f"{len(targets)} samples can't be split for training; give at least 2")
    bad = ~torch.isfinite(targets) | (targets < 0)
    if bad.any():
        raise ValueError(f"targets hold {float(targets[bad][0])}; they must be finite and >= 0")


def _risk(probe: LREProbe, hidden: Tensor) -> Tensor:
    risk: Tensor = probe.sequence_risk(hidden) if hidden.ndim == 3 else probe(hidden)
    return risk.float()


def _copy(probe: LREProbe) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in probe.state_dict().items()}
