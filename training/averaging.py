"""The moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class WeightAverage:
    """An exponential moving average of weights and batch-norm statistics (EMA).

    The average of the last steps' weights scores better, and with less noise, than the last
    step's while the learning rate is large. Its decay rises from 2/11 with the steps until it is
    the one asked for, so that the drawn weights, which mean nothing, do not linger in it: n steps
    into a run it is at most (1 + n) / (10 + n).

    Attributes:
        module: A copy of the network with the averaged weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Begins an average at a network's present weights.

        Args:
            module: The network, on the device where it will be trained.
            decay: Share of the average that a step keeps.
        """
        self.module = copy.deepcopy(module).requires_grad_(requires_grad=False)
        self._decay = decay
        # Both state dicts are views of what they stand for.
        self._pairs = list(
            zip(self.module.state_dict().values(), module.state_dict().values(), strict=True)
        )

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after a step.

        Args:
            step: Steps done, from 1.
        """
        weight = 1 - min(self._decay, (1 + step) / (10 + step))
        for average, value in self._pairs:
            if average.is_floating_point():
                average.lerp_(value, weight)
            else:
                average.copy_(value)
