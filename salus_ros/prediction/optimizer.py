"""AdamW, because torch.optim takes ten seconds to import torch's compiler, which nothing here uses.

Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


class AdamW:
    """Weight decay apart from the gradient; the usual decay rates of the moments."""

    betas = (0.9, 0.999)
    epsilon = 1e-8

    def __init__(self, values: Iterable[Tensor], rate: float, weight_decay: float = 0.0) -> None:
        self.rate = rate
        self.values = list(values)
        self.steps = 0
        self.first = [torch.zeros_like(value) for value in self.values]
        self.second = [torch.zeros_like(value) for value in self.values]
        self._decay = weight_decay

    def minimise(self, loss: Tensor) -> None:
        """One step down the gradient of the loss."""
        gradients = torch.autograd.grad(loss, self.values)
        self.steps += 1
        unbiased = [1 - beta**self.steps for beta in self.betas]
        with torch.no_grad():
            for value, gradient, first, second in zip(
                self.values, gradients, self.first, self.second, strict=True
            ):
                first.lerp_(gradient, 1 - self.betas[0])
                second.lerp_(gradient * gradient, 1 - self.betas[1])
                value.mul_(1 - self.rate * self._decay)
                size = second.sqrt() / math.sqrt(unbiased[1]) + self.epsilon
                value.addcdiv_(first, size, value=-self.rate / unbiased[0])
