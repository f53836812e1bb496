"""Stems: from the image to the first branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from blocks import (
    BranchShape,
    Chain,
    Conv,
    Ins,
    LayerSpec,
    Problem,
    Shape,
    Slot,
    Tape,
    choice,
    conv3x3,
    depthwise,
    even_channels_problems,
    interleave,
    pointwise,
)
from networks._slots import register_kind


@dataclass(frozen=True, kw_only=True)
class Stem(LayerSpec):
    """A layer from the image to one branch.

    Shape:
        [(N, 3, H, W)] to [(N, channels, H / stride, W / stride)].
    """

    stride: ClassVar[int] = 4
    channels: int = choice(32, among=(16, 24, 32, 48), help="channels that the stem puts out")

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the one branch."""
        return (BranchShape(self.channels, ins[0].stride * self.stride),)


@register_kind(Slot.STEM, "lite")
@dataclass(frozen=True, kw_only=True)
class LiteStem(Stem):
    """Stem of Lite-HRNet: a strided 3x3 convolution and a strided shuffle block.

    Unlike ShuffleNetV2's down-sampling unit, each path of the shuffle block sees only half of the
    channels.

    Source: Yu et al., Lite-HRNet (arXiv 2104.06403), section 3.1, details from the released code.
    """

    expand_ratio: int = choice(1, among=(1, 2), help="widening inside the shuffle block")

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for halves."""
        del ins
        return even_channels_problems(self.channels)

    def build(self, ins: Ins) -> nn.Module:
        """Makes the module."""
        return _LiteStemModule(*(chain.build() for chain in self._chains(ins)))

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the stem down."""
        tape = tape.at("", branch=0)
        conv, short, long = self._chains(ins)
        x = conv.trace(tape.at("conv"), xs[0])
        half = (x[0] // 2, *x[1:])
        kept = short.trace(tape.at("short"), half)
        return (tape.interleave(kept, long.trace(tape.at("long"), half)),)

    def _chains(self, ins: Ins) -> tuple[Chain, Chain, Chain]:
        half = self.channels // 2
        hidden = self.channels * self.expand_ratio
        return (
            Chain((conv3x3(ins[0].channels, self.channels, stride=2, act="relu"),)),
            Chain((depthwise(half, stride=2), pointwise(half, half, "relu"))),
            Chain(
                (
                    pointwise(half, hidden, "relu"),
                    depthwise(hidden, stride=2),
                    pointwise(hidden, half, "relu"),
                )
            ),
        )


class _LiteStemModule(nn.Module):
    def __init__(self, conv: nn.Module, short: nn.Module, long: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.short = short
        self.long = long

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        first, second = self.conv(xs[0]).chunk(2, dim=1)
        return [interleave(self.short(first), self.long(second))]


@register_kind(Slot.STEM, "hrnet")
@dataclass(frozen=True, kw_only=True)
class HRNetStem(Stem):
    """Stem of HRNet: two strided 3x3 convolutions, with one ReLU module for both.

    Source: Wang et al., HRNet (arXiv 1908.07919), section 3; the shared ReLU from the released
    code (counters that look at each module once see only its second call).
    """

    channels: int = choice(64, among=(32, 64), help="channels that the stem puts out")

    def build(self, ins: Ins) -> nn.Module:
        """Makes the two convolutions."""
        return _SharedActivation([conv.build() for conv in self._convs(ins)])

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the two convolutions down."""
        tape = tape.at("", branch=0)
        x = xs[0]
        for index, conv in enumerate(self._convs(ins)):
            x = tape.at("act").act(conv.trace(tape.at(f"convs.{index}"), x))
        return (x,)

    def _convs(self, ins: Ins) -> tuple[Conv, Conv]:
        return (
            conv3x3(ins[0].channels, self.channels, stride=2),
            conv3x3(self.channels, self.channels, stride=2),
        )


class _SharedActivation(nn.Module):
    def __init__(self, convs: list[nn.Sequential]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.act = nn.ReLU(inplace=True)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        x = xs[0]
        for conv in self.convs:
            x = self.act(conv(x))
        return [x]


@register_kind(Slot.STEM, "mobilenet_v2")
@dataclass(frozen=True, kw_only=True)
class MobileNetV2Stem(Stem):
    """Stem of MobileNetV2: one strided 3x3 convolution with ReLU6.

    Source: Sandler et al., MobileNetV2 (arXiv 1801.04381), table 2.
    """

    stride: ClassVar[int] = 2

    def build(self, ins: Ins) -> nn.Module:
        """Makes the convolution."""
        return OneBranch(self._conv(ins).build())

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the convolution down."""
        return (self._conv(ins).trace(tape.at("convs", branch=0), xs[0]),)

    def _conv(self, ins: Ins) -> Conv:
        return conv3x3(ins[0].channels, self.channels, stride=2, act="relu6")


@register_kind(Slot.STEM, "shufflenet_v2")
@dataclass(frozen=True, kw_only=True)
class ShuffleNetV2Stem(Stem):
    """Stem of ShuffleNetV2: a strided 3x3 convolution and a strided 3x3 max pooling.

    Source: Ma et al., ShuffleNetV2 (arXiv 1807.11164), table 5.
    """

    channels: int = choice(24, among=(16, 24, 32), help="channels that the stem puts out")

    def build(self, ins: Ins) -> nn.Module:
        """Makes the module."""
        conv = conv3x3(ins[0].channels, self.channels, stride=2, act="relu")
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        return OneBranch(nn.Sequential(conv.build(), pool))

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the stem down."""
        convs = tape.at("convs", branch=0)
        conv = conv3x3(ins[0].channels, self.channels, stride=2, act="relu")
        x = conv.trace(convs.at("0"), xs[0])
        return (convs.at("1").max_pool(x, kernel=3, stride=2),)


class OneBranch(nn.Module):
    """Applies a module to the finest branch and drops the others."""

    def __init__(self, convs: nn.Module) -> None:
        super().__init__()
        self.convs = convs

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        """Applies it."""
        return [self.convs(xs[0])]
