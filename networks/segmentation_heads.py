"""Heads for semantic segmentation: one map of class scores each, at the finest branch's stride."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from blocks import (
    BranchShape,
    Chain,
    Conv,
    Flow,
    Ins,
    Op,
    Problem,
    Shape,
    Slot,
    Tape,
    choice,
    depthwise,
    pointwise,
)
from networks._slots import register_kind
from networks.heads import Head, final_conv
from networks.stems import OneBranch


@dataclass(frozen=True, kw_only=True)
class SegmentationHead(Head):
    """A head whose maps are the class scores of ``num_outputs`` classes."""

    num_outputs: int = choice(19, help="classes, one map each")

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the one branch of maps."""
        return (BranchShape(self.num_outputs, ins[0].stride),)


@register_kind(Slot.HEAD, "segmentation_concat")
@dataclass(frozen=True, kw_only=True)
class ConcatSegmentationHead(SegmentationHead):
    """HRNetV2's head: all branches on the finest grid, 1x1 convolution, 1x1 convolution.

    Coarser branches are upsampled (bilinear, corners not aligned) and concatenated; a 1x1
    convolution with bias, batch norm and ReLU mixes them. Mixing and upsampling are both linear
    and may change places: with ``mix`` ``before`` every branch is mixed at its own resolution and
    the results are upsampled and added, the same function of the same weights in fewer MACs.

    Source: Sun et al., High-Resolution Representations for Labeling Pixels and Regions
    (arXiv 1904.04514), figure 4b, details from the released code.

    Shape:
        (N, C_b, H/s_b, W/s_b) to (N, num_outputs, H/s_0, W/s_0).
    """

    channels: int = choice(
        0,
        among=(0, 64, 128),
        help="channels after the mixing; 0 for as many as all branches have together",
    )
    mix: str = choice(
        "after",
        among=("after", "before"),
        help="whether branches are mixed after upsampling, as published, or before",
    )

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for several branches."""
        return _several_problems(ins)

    def build(self, ins: Ins) -> nn.Module:
        """Makes the convolutions."""
        mixed = self._channels(ins)
        convs = [conv.build() for conv in self._mixing(ins)]
        rest = (nn.BatchNorm2d(mixed), nn.ReLU(inplace=True))
        classify = final_conv(mixed, self.num_outputs).build()
        cls = _MixBefore if self.mix == "before" else _MixAfter
        return cls(convs, nn.Sequential(*rest), classify)

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the head down."""
        tape = tape.at("", branch=0)
        convs = self._mixing(ins)
        ratios = [shape.stride // ins[0].stride for shape in ins]
        if self.mix == "before":
            x = convs[0].trace(tape.at("mix.0"), xs[0])
            for index in range(1, len(ins)):
                y = convs[index].trace(tape.at(f"mix.{index}", branch=index), xs[index])
                x = tape.add(x, tape.upsample_bilinear(y, ratios[index]))
        else:
            ups = [
                tape.upsample_bilinear(x, ratio)
                for x, ratio in zip(xs[1:], ratios[1:], strict=True)
            ]
            x = convs[0].trace(tape.at("mix.0"), tape.cat(xs[0], *ups))
        x = tape.at("rest.1").act(tape.at("rest.0").norm(x))
        return (final_conv(x[0], self.num_outputs).trace(tape.at("classify"), x),)

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow:
        """Reads all branches."""
        del ops, read
        return Flow((), frozenset(range(len(ins))))

    def _channels(self, ins: Ins) -> int:
        return self.channels or sum(shape.channels for shape in ins)

    def _mixing(self, ins: Ins) -> list[Conv]:
        """Returns the mixing convolution, or its part for every branch; one part has the bias."""
        out = self._channels(ins)
        widths = [shape.channels for shape in ins]
        parts = widths if self.mix == "before" else [sum(widths)]
        return [
            Conv(in_channels=width, out_channels=out, bias=index == 0, norm=False)
            for index, width in enumerate(parts)
        ]


@register_kind(Slot.HEAD, "segmentation_finest")
@dataclass(frozen=True, kw_only=True)
class FinestSegmentationHead(SegmentationHead):
    """A separable 3x3 convolution and a 1x1 convolution on the finest branch.

    Made to stand behind the aggregator ``iterative``, which has brought the coarser branches
    into the finest one; behind ``none`` it sees what the last fusion brought there.

    Source: our own; the paper on Lite-HRNet (arXiv 2104.06403) does not tell its head.

    Shape:
        (N, C_0, H/s_0, W/s_0), coarser branches ignored, to (N, num_outputs, H/s_0, W/s_0).
    """

    channels: int = choice(64, among=(32, 64, 128), help="channels before the last convolution")

    def build(self, ins: Ins) -> nn.Module:
        """Makes the convolutions."""
        return OneBranch(self._convs(ins).build())

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the convolutions down."""
        return (self._convs(ins).trace(tape.at("convs", branch=0), xs[0]),)

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow:
        """Reads the finest branch."""
        del ins, ops, read
        return Flow((), frozenset({0}))

    def _convs(self, ins: Ins) -> Chain:
        return Chain(
            (
                depthwise(ins[0].channels),
                pointwise(ins[0].channels, self.channels, "relu"),
                final_conv(self.channels, self.num_outputs),
            )
        )


@register_kind(Slot.HEAD, "segmentation_attention")
@dataclass(frozen=True, kw_only=True)
class AttentionSegmentationHead(SegmentationHead):
    """Branches are added from the coarsest to the finest, each under a gate at every position.

    Every branch is projected to ``channels``. From the coarsest on, the sum so far is upsampled
    (bilinear, corners not aligned) and s · x + up is the next sum, where the gate s, one number a
    position, is a 1x1 convolution with a sigmoid over x and up together: detail enters where
    what is known from coarser branches calls for it.

    Source: our own, after the idea of attention between resolutions (Chen et al., Attention to
    Scale, arXiv 1511.03339); no published network has exactly this head.

    Shape:
        (N, C_b, H/s_b, W/s_b) to (N, num_outputs, H/s_0, W/s_0).
    """

    channels: int = choice(64, among=(32, 64, 128), help="channels that all branches come to")

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for several branches."""
        return _several_problems(ins)

    def build(self, ins: Ins) -> nn.Module:
        """Makes projections, gates and the last convolution."""
        return _Attention(
            [self._projection(shape.channels).build() for shape in ins],
            [self._gate().build() for _ in ins[1:]],
            final_conv(self.channels, self.num_outputs).build(),
        )

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the head down, from the coarsest branch on."""
        summed: Shape | None = None
        for index in reversed(range(len(ins))):
            branch = tape.at("", branch=index)
            project = self._projection(ins[index].channels)
            x = project.trace(branch.at(f"project.{index}"), xs[index])
            if summed is None:
                summed = x
                continue
            ratio = ins[index + 1].stride // ins[index].stride
            up = branch.upsample_bilinear(summed, ratio)
            gate = self._gate().trace(branch.at(f"gates.{index}"), branch.cat(x, up))
            summed = branch.add(branch.mul(x, gate), up)
        assert summed is not None
        classify = final_conv(self.channels, self.num_outputs)
        return (classify.trace(tape.at("classify", branch=0), summed),)

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow:
        """Reads all branches."""
        del ops, read
        return Flow((), frozenset(range(len(ins))))

    def _projection(self, channels: int) -> Conv:
        return pointwise(channels, self.channels, "relu")

    def _gate(self) -> Conv:
        return Conv(
            in_channels=2 * self.channels, out_channels=1, bias=True, norm=False, act="sigmoid"
        )


class _MixAfter(nn.Module):
    def __init__(self, mix: list[nn.Sequential], rest: nn.Module, classify: nn.Module) -> None:
        super().__init__()
        self.mix = nn.ModuleList(mix)
        self.rest = rest
        self.classify = classify

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        ups = [_upsample(x, xs[0]) for x in xs[1:]]
        mixed = self.mix[0](torch.cat([xs[0], *ups], dim=1))
        return [self.classify(self.rest(mixed))]


class _MixBefore(_MixAfter):
    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        mixed = self.mix[0](xs[0])
        for x, mix in zip(xs[1:], list(self.mix)[1:], strict=True):
            mixed = mixed + _upsample(mix(x), mixed)
        return [self.classify(self.rest(mixed))]


class _Attention(nn.Module):
    def __init__(
        self, project: list[nn.Sequential], gates: list[nn.Sequential], classify: nn.Module
    ) -> None:
        super().__init__()
        self.project = nn.ModuleList(project)
        self.gates = nn.ModuleList(gates)
        # Last: initialisation starts the last convolution of a network small.
        self.classify = classify

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        summed = self.project[-1](xs[-1])
        for index in reversed(range(len(xs) - 1)):
            x = self.project[index](xs[index])
            up = _upsample(summed, x)
            gate = self.gates[index](torch.cat([x, up], dim=1))
            summed = x * gate + up
        return [self.classify(summed)]


def _upsample(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def _several_problems(ins: Ins) -> tuple[Problem, ...]:
    if len(ins) > 1:
        return ()
    return (
        Problem(
            rule="the head joins several branches",
            got="one branch",
            do="use the head 'segmentation_finest', or a last fusion with the outputs 'all'",
        ),
    )
