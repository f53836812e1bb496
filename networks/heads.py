"""Heads: from the branches to the network's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from blocks import (
    BranchShape,
    Conv,
    Flow,
    Ins,
    LayerSpec,
    Op,
    Problem,
    Shape,
    Slot,
    Tape,
    choice,
)
from networks._slots import register_kind
from networks.stems import OneBranch

OUTPUTS_HELP = "maps that the head puts out, one per key point or class"
_DECONV_KERNEL = 4


@dataclass(frozen=True, kw_only=True)
class Head(LayerSpec):
    """A layer that puts out one branch with ``num_outputs`` maps."""

    num_outputs: int = choice(17, help=OUTPUTS_HELP)


@register_kind(Slot.HEAD, "heatmap")
@dataclass(frozen=True, kw_only=True)
class HeatmapHead(Head):
    """One 1x1 convolution with bias on the finest branch.

    Shape:
        (N, C_0, H/s_0, W/s_0), coarser branches ignored, to (N, num_outputs, H/s_0, W/s_0).
    """

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the one branch of maps."""
        return (BranchShape(self.num_outputs, ins[0].stride),)

    def build(self, ins: Ins) -> nn.Module:
        """Makes the convolution."""
        return OneBranch(final_conv(ins[0].channels, self.num_outputs).build())

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the convolution down."""
        conv = final_conv(ins[0].channels, self.num_outputs)
        return (conv.trace(tape.at("convs", branch=0), xs[0]),)

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow:
        """Reads the finest branch."""
        del ins, ops, read
        return Flow((), frozenset({0}))


@register_kind(Slot.HEAD, "heatmap_deconv")
@dataclass(frozen=True, kw_only=True)
class DeconvHeatmapHead(Head):
    """Transposed 4x4 convolutions that each double the resolution, then a 1x1 convolution.

    Source: Xiao et al., Simple Baselines (arXiv 1804.06208), section 2.

    Shape:
        (N, C_0, H/s_0, W/s_0) to (N, num_outputs, H·2^n/s_0, W·2^n/s_0) for n deconvolutions.
    """

    num_deconvs: int = choice(3, among=(1, 2, 3), help="how often the resolution is doubled")
    channels: int = choice(256, among=(64, 128, 256), help="channels between the deconvolutions")

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for maps that are no finer than the image."""
        stride = ins[0].stride
        if stride % 2**self.num_deconvs == 0:
            return ()
        return (
            Problem(
                rule="the maps cannot be finer than the image",
                got=f"{self.num_deconvs} deconvolutions",
                do=f"use {(stride & -stride).bit_length() - 1} or fewer, or the head 'heatmap'",
                branch=0,
                stride=stride,
            ),
        )

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the one branch of maps."""
        stride = max(1, ins[0].stride // 2**self.num_deconvs)
        return (BranchShape(self.num_outputs, stride),)

    def build(self, ins: Ins) -> nn.Module:
        """Makes the convolutions."""
        layers: list[nn.Module] = []
        channels = ins[0].channels
        for _ in range(self.num_deconvs):
            layers.append(
                nn.ConvTranspose2d(
                    channels, self.channels, _DECONV_KERNEL, stride=2, padding=1, bias=False
                )
            )
            layers += [nn.BatchNorm2d(self.channels), nn.ReLU(inplace=True)]
            channels = self.channels
        layers.append(final_conv(channels, self.num_outputs).build())
        return OneBranch(nn.Sequential(*layers))

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the convolutions down."""
        tape = tape.at("convs", branch=0)
        x = xs[0]
        for index in range(0, 3 * self.num_deconvs, 3):
            x = tape.at(str(index)).deconv(x, self.channels, kernel=_DECONV_KERNEL, stride=2)
            x = tape.at(str(index + 1)).norm(x)
            x = tape.at(str(index + 2)).act(x)
        del ins
        conv = final_conv(self.channels, self.num_outputs)
        return (conv.trace(tape.at(str(3 * self.num_deconvs)), x),)

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow:
        """Reads the finest branch."""
        del ins, ops, read
        return Flow((), frozenset({0}))


def final_conv(in_channels: int, num_outputs: int) -> Conv:
    """Returns the 1x1 convolution with bias that ends every heat-map head."""
    return Conv(in_channels=in_channels, out_channels=num_outputs, bias=True, norm=False)
