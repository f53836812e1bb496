"""Initialisation of a network's weights before training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from blocks import Problem, SpecError, did_you_mean, quoted

Initialisation = Literal["published", "kaiming"]

_PUBLISHED_STD = 0.001


def initialise(module: nn.Module, name: str, seed: int) -> None:
    """Sets every convolution and batch norm of a module, from one seed.

    ``published`` draws convolution weights from N(0, 0.001), as the released code of Lite-HRNet
    and HRNet does; ``kaiming`` from N(0, 2 / fan_out) (He et al., arXiv 1502.01852), but for the
    last convolution, which ends the head and starts small too: fusions and sums make the branches
    large, and first heat maps far from 0 cost a short schedule most of its steps. Biases are 0,
    batch norms scale by 1 and shift by 0. Other layers, as blocks from elsewhere may have, are
    drawn anew by their own rule.

    Args:
        module: The module, changed in place: that is what the function is for.
        name: ``published`` or ``kaiming``.
        seed: Seed of the draw.

    Raises:
        SpecError: If the name is another.
    """
    if name not in INITIALISATIONS:
        raise SpecError(
            Problem(
                where="init",
                rule="weights are initialised by a known scheme",
                got=quoted(name),
                do=did_you_mean(name, INITIALISATIONS),
            )
        )
    generator = torch.Generator().manual_seed(seed)
    std_of = INITIALISATIONS[name]
    convs = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    last = convs[-1] if convs else None
    # The global generator is left as it was found.
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                # Drawn on the CPU, so that every device starts from the same weights.
                draw = torch.randn(part.weight.shape, generator=generator)
                std = _PUBLISHED_STD if part is last else std_of(part.weight)
                part.weight.copy_(draw * std)
                if part.bias is not None:
                    part.bias.zero_()
            elif isinstance(part, nn.BatchNorm2d):
                part.reset_parameters()
            elif callable(reset := getattr(part, "reset_parameters", None)):
                reset()


def _kaiming_std(weight: Tensor) -> float:
    fan_out = weight.shape[0] * math.prod(weight.shape[2:])
    # A depthwise filter reaches one output channel only.
    if weight.shape[1] == 1:
        fan_out = math.prod(weight.shape[2:])
    return math.sqrt(2.0 / fan_out)


INITIALISATIONS: dict[str, Callable[[Tensor], float]] = {
    "kaiming": _kaiming_std,
    "published": lambda _: _PUBLISHED_STD,
}
"""Standard deviation of a convolution's weights, by scheme."""
