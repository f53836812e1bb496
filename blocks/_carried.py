"""Carrying the input around what a block computes, without an activation after the sum."""

from __future__ import annotations

from torch import Tensor, nn


class CarriedModule(nn.Module):
    """convs(x) + x.

    Args:
        convs: A module that leaves the shape as it is.

    Shape:
        (N, C, H, W) in and out.
    """

    def __init__(self, convs: nn.Module) -> None:
        super().__init__()
        self.convs = convs

    def forward(self, x: Tensor) -> Tensor:
        """Adds the input."""
        y: Tensor = self.convs(x)
        return y + x
