"""The block of FasterNet, around its partial convolution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blocks import (
    BranchBlock,
    BranchShape,
    Chain,
    Conv,
    Shape,
    Tape,
    choice,
    pointwise,
    register_block,
)


@register_block("partial_conv")
@dataclass(frozen=True, kw_only=True)
class PartialConv(BranchBlock):
    """A dense 3x3 convolution on the first of the channels, then two 1x1 on all (FasterNet).

    Computes x + convs(y), where y is x with its first p = C // divisor channels convolved and the
    others untouched. It costs 9·p² + 2·e·C² multiply-accumulates at every position, e the
    expansion, and reads and writes less than a depthwise convolution of all channels would.

    Source: Chen et al., Run, Don't Walk (arXiv 2303.03667), section 3.2 and figure 4; batch norm
    and activation stand between the 1x1 convolutions alone. The activation is ReLU, as in the
    paper's larger networks (the smallest have GELU).

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    divisor: int = choice(4, among=(2, 4, 8), help="channels for one that is convolved")
    expand_ratio: int = choice(2, among=(1, 2, 4), help="how much wider the middle is")

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the block."""
        partial = self._partial(shape.channels)
        sizes = (partial.in_channels, shape.channels - partial.in_channels)
        return _FasterNetBlock(sizes, partial.build(), self._convs(shape.channels).build())

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the block down."""
        partial = self._partial(shape.channels)
        first = (partial.in_channels, *x[1:])
        rest = (x[0] - first[0], *x[1:])
        y = partial.trace(tape.at("partial"), first)
        if rest[0]:
            y = tape.cat(y, rest)
        return tape.add(x, self._convs(shape.channels).trace(tape.at("convs"), y))

    def _partial(self, channels: int) -> Conv:
        size = max(1, channels // self.divisor)
        return Conv(in_channels=size, out_channels=size, kernel=3, norm=False)

    def _convs(self, channels: int) -> Chain:
        hidden = channels * self.expand_ratio
        narrow = Conv(in_channels=hidden, out_channels=channels, norm=False)
        return Chain((pointwise(channels, hidden, "relu"), narrow))


class _FasterNetBlock(nn.Module):
    def __init__(self, sizes: tuple[int, int], partial: nn.Module, convs: nn.Module) -> None:
        super().__init__()
        self.sizes = sizes
        self.partial = partial
        self.convs = convs

    def forward(self, x: Tensor) -> Tensor:
        first, rest = torch.split(x, list(self.sizes), dim=1)
        y: Tensor = self.partial(first)
        if self.sizes[1]:
            y = torch.cat((y, rest), dim=1)
        carried: Tensor = x + self.convs(y)
        return carried
