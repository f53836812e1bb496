"""The ghost bottleneck of GhostNet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blocks import (
    Activation,
    BranchBlock,
    BranchShape,
    Conv,
    Shape,
    Tape,
    choice,
    pointwise,
    register_block,
)
from blocks._carried import CarriedModule


@register_block("ghost")
@dataclass(frozen=True, kw_only=True)
class Ghost(BranchBlock):
    """Two ghost modules that widen and narrow, around which the input is carried (GhostNet).

    A ghost module makes one in ``ratio`` of its channels with a 1x1 convolution and the others
    from those with a depthwise 3x3. With e the expansion and r the ratio, the block costs
    (2·e·C² + 9·(r - 1)·(e + 1)·C) / r multiply-accumulates at every position, where r divides the
    channels.

    Source: Han et al., GhostNet (arXiv 1911.11907), equations 3 and 4, figure 3 left, at stride 1;
    without the squeeze-and-excitation that table 1 has in some layers. Where r does not divide
    the channels, it rounds up and drops the rest, as the released code does.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    expand_ratio: int = choice(3, among=(2, 3, 6), help="how much wider the middle is")
    ratio: int = choice(2, among=(2, 3), help="channels for one that a 1x1 convolution makes")

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the block."""
        return CarriedModule(nn.Sequential(*(part.build() for part in self._parts(shape.channels))))

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the block down."""
        y = x
        for index, part in enumerate(self._parts(shape.channels)):
            y = part.trace(tape.at(f"convs.{index}"), y)
        return tape.add(y, x)

    def _parts(self, channels: int) -> tuple[_GhostPart, _GhostPart]:
        hidden = channels * self.expand_ratio
        return (
            _GhostPart(channels, hidden, self.ratio, "relu"),
            _GhostPart(hidden, channels, self.ratio, None),
        )


@dataclass(frozen=True)
class _GhostPart:
    """The ghost module: primary channels from a 1x1, the others from those by a depthwise 3x3."""

    in_channels: int
    out_channels: int
    ratio: int
    act: Activation | None

    @property
    def num_primary(self) -> int:
        return -(-self.out_channels // self.ratio)

    def build(self) -> nn.Module:
        cheap = None if self.ratio == 1 else self._cheap().build()
        return _GhostModule(self._primary().build(), cheap, self.out_channels)

    def trace(self, tape: Tape, x: Shape) -> Shape:
        x = self._primary().trace(tape.at("primary"), x)
        if self.ratio == 1:
            return x
        tape.cat(x, self._cheap().trace(tape.at("cheap"), x))
        return (self.out_channels, *x[1:])

    def _primary(self) -> Conv:
        return pointwise(self.in_channels, self.num_primary, self.act)

    def _cheap(self) -> Conv:
        return Conv(
            in_channels=self.num_primary,
            out_channels=self.num_primary * (self.ratio - 1),
            kernel=3,
            groups=self.num_primary,
            act=self.act,
        )


class _GhostModule(nn.Module):
    def __init__(self, primary: nn.Module, cheap: nn.Module | None, out_channels: int) -> None:
        super().__init__()
        self.primary = primary
        self.cheap = cheap
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.primary(x)
        if self.cheap is None:
            return y
        return torch.cat((y, self.cheap(y)), dim=1)[:, : self.out_channels]
