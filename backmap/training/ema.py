"""Exponential moving average of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Keeps a running mean of a module's parameters.

    Parameters
    ----------
    module : nn.Module
        Whose parameters to follow.
    decay : float
        Weight of the past at each update; grows to this from zero over the first updates.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.parameters = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the module's present parameters."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = dict(module.named_parameters())
        torch._foreach_lerp_(list(self.parameters.values()), [current[n] for n in self.parameters], 1 - decay)

    def copy_to(self, module: nn.Module) -> None:
        """Write the mean into a module."""
        module.load_state_dict(self.parameters, strict=False)

    def state(self) -> dict[str, Tensor]:
        """Tensors to save."""
        return self.parameters
