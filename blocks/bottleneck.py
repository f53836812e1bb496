"""The residual bottleneck block."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from blocks import (
    BranchBlock,
    BranchShape,
    Shape,
    Tape,
    choice,
    conv3x3,
    pointwise,
    register_block,
)
from blocks._residual import Residual


@register_block("bottleneck")
@dataclass(frozen=True, kw_only=True)
class Bottleneck(BranchBlock):
    """Residual block of a 1x1, a 3x3 and a 1x1 convolution with fewer channels in the middle.

    Each branch narrows to C // reduce_ratio channels, works there with a dense 3x3 convolution,
    widens again and adds the input.

    Source: He et al., Deep Residual Learning (arXiv 1512.03385), figure 5 right; HRNet stage 1.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    reduce_ratio: int = choice(4, among=(2, 4, 8), help="how much narrower the middle is")

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the residual chain."""
        return self._chain(shape.channels).build()

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the residual chain down."""
        return self._chain(shape.channels).trace(tape, x)

    def _chain(self, channels: int) -> Residual:
        hidden = max(1, channels // self.reduce_ratio)
        return Residual(
            (pointwise(channels, hidden), conv3x3(hidden, hidden), pointwise(hidden, channels))
        )
