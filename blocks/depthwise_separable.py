"""The depthwise separable convolution."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from blocks import (
    BranchBlock,
    BranchShape,
    Chain,
    Shape,
    Tape,
    depthwise,
    pointwise,
    register_block,
)


@register_block("depthwise_separable")
@dataclass(frozen=True, kw_only=True)
class DepthwiseSeparable(BranchBlock):
    """Depthwise 3x3 and pointwise convolution, each with batch norm and ReLU (MobileNet).

    Source: Howard et al., MobileNets (arXiv 1704.04861), figure 3 right, at stride 1.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the two convolutions."""
        return _chain(shape.channels).build()

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the two convolutions down."""
        return _chain(shape.channels).trace(tape, x)


def _chain(channels: int) -> Chain:
    return Chain((depthwise(channels, act="relu"), pointwise(channels, channels, "relu")))
