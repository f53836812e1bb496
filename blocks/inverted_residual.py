"""The inverted residual block of MobileNetV2."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from blocks import BranchBlock, BranchShape, Chain, Shape, Tape, choice, register_block
from blocks._carried import CarriedModule
from blocks._inverted import inverted_bottleneck


@register_block("inverted_residual")
@dataclass(frozen=True, kw_only=True)
class InvertedResidual(BranchBlock):
    """Widens, filters each channel, narrows linearly, and adds the input (MobileNetV2).

    The 1x1 convolutions to and from expand_ratio·C channels are nearly all of its cost.

    Source: Sandler et al., MobileNetV2 (arXiv 1801.04381), table 1 and figure 4d, at stride 1.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    expand_ratio: int = choice(6, among=(2, 4, 6), help="how much wider the middle is")

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the block."""
        return CarriedModule(self._chain(shape.channels).build())

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the block down."""
        return tape.add(self._chain(shape.channels).trace(tape.at("convs"), x), x)

    def _chain(self, channels: int) -> Chain:
        return inverted_bottleneck(channels, channels, expand_ratio=self.expand_ratio)
