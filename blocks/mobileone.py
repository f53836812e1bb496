"""The over-parameterised block of MobileOne."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from blocks import (
    BranchBlock,
    BranchShape,
    Conv,
    Shape,
    Tape,
    choice,
    depthwise,
    pointwise,
    register_block,
)


@register_block("mobileone")
@dataclass(frozen=True, kw_only=True)
class MobileOne(BranchBlock):
    """Depthwise and pointwise convolutions as sums of parallel ones, for training (MobileOne).

    Each of the two is ReLU(BN(x) + sum of its convolutions with batch norm): k depthwise 3x3 and
    one depthwise 1x1 for the first, k pointwise for the second. At every position that costs
    (9·k + 1)·C + k·C² multiply-accumulates. Built is what is trained. For deployment the sums can
    be merged into one convolution each, which leaves 9·C + C²; costs here are those of the sums.

    Source: Vasu et al., MobileOne (arXiv 2206.04040), section 3.3 and figure 3, at stride 1;
    without the squeeze-and-excitation of its largest network.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    num_convs: int = choice(1, among=(1, 2, 4), help="parallel convolutions (k in the paper)")

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the two sums."""
        return nn.Sequential(*(part.build() for part in self._parts(shape.channels)))

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the two sums down."""
        for index, part in enumerate(self._parts(shape.channels)):
            x = part.trace(tape.at(str(index)), x)
        return x

    def _parts(self, channels: int) -> tuple[_Parallel, _Parallel]:
        scale = depthwise(channels, kernel=1)
        return (
            _Parallel((scale, *(depthwise(channels),) * self.num_convs)),
            _Parallel((pointwise(channels, channels),) * self.num_convs),
        )


@dataclass(frozen=True)
class _Parallel:
    """ReLU(BN(x) + sum of convs(x)); all convolutions keep the channels."""

    convs: tuple[Conv, ...]

    def build(self) -> nn.Module:
        return _Sum(self.convs[0].in_channels, nn.ModuleList(conv.build() for conv in self.convs))

    def trace(self, tape: Tape, x: Shape) -> Shape:
        total = tape.at("norm").norm(x)
        for index, conv in enumerate(self.convs):
            total = tape.add(total, conv.trace(tape.at(f"convs.{index}"), x))
        return tape.at("act").act(total)


class _Sum(nn.Module):
    def __init__(self, channels: int, convs: nn.ModuleList) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.convs = convs
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        total = self.norm(x)
        for conv in self.convs:
            total = total + conv(x)
        result: Tensor = self.act(total)
        return result
