"""The residual block of two 3x3 convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from blocks import BranchBlock, BranchShape, Shape, Tape, conv3x3, register_block
from blocks._residual import Residual


@register_block("basic")
@dataclass(frozen=True, kw_only=True)
class Basic(BranchBlock):
    """Residual block of two dense 3x3 convolutions (HRNet's workhorse).

    Each branch computes ReLU(BN(conv(ReLU(BN(conv(x))))) + x). It costs 18·C² multiply-accumulates
    at every position.

    Source: He et al., Deep Residual Learning (arXiv 1512.03385), figure 5 left; HRNet stages 2-4.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the residual chain."""
        return _chain(shape.channels).build()

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the residual chain down."""
        return _chain(shape.channels).trace(tape, x)


def _chain(channels: int) -> Residual:
    return Residual((conv3x3(channels, channels), conv3x3(channels, channels)))
