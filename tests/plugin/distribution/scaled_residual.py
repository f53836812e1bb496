"""A third party's block: a depthwise convolution whose result is scaled and added."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blocks import BranchBlock, BranchShape, Shape, Tape, choice, depthwise, register_block


@register_block("scaled_residual", revision=2, aliases=("layer_scale",))
@dataclass(frozen=True, kw_only=True)
class ScaledResidual(BranchBlock):
    """Adds a depthwise convolution, each channel scaled by a learnable number.

    Source: Touvron et al., CaiT (arXiv 2103.17239), equation 2, on a depthwise convolution.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    activation: bool = choice(default=True, among=(False, True), help="ReLU before the scaling")

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the module."""
        conv = depthwise(shape.channels, act="relu" if self.activation else None)
        return _Scaled(conv.build(), shape.channels)

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the module's operations down."""
        conv = depthwise(shape.channels, act="relu" if self.activation else None)
        y = conv.trace(tape.at("conv"), x)
        tape.write("mul", (y,), y, weights=((shape.channels, 1, 1),))
        return tape.add(x, y)


class _Scaled(nn.Module):
    """x + scale * conv(x)."""

    def __init__(self, conv: nn.Module, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) * self.scale
