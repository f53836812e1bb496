"""Transitions: from the branches of one stage to those of the next."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from blocks import (
    Activation,
    BranchShape,
    Chain,
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
    conv3x3,
    depthwise,
    even_channels_problems,
    interleave,
    pointwise,
    required,
)
from blocks._inverted import inverted_bottleneck
from blocks._residual import Residual
from networks._chains import Step, dense_step, down_chain, separable_step
from networks._slots import register_kind
from networks.stems import OneBranch


@dataclass(frozen=True, kw_only=True)
class BranchingTransition(LayerSpec):
    """Sets the branches' widths and adds coarser branches.

    A branch whose width stays passes through; one whose width changes gets one step. Each new
    branch grows from the last branch of the stage before, by halving steps.

    Source: the released code of HRNet and Lite-HRNet.
    """

    step: ClassVar[Step]
    widths: tuple[int, ...] = required(
        tuple[int, ...], help="write the width of every branch, finest first"
    )

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for at least as many widths as there are branches."""
        if len(self.widths) >= len(ins):
            return ()
        return (
            Problem(
                rule="a transition keeps every branch or adds some",
                got=f"{len(self.widths)} widths for {len(ins)} branches",
                do=f"write at least {len(ins)} widths",
            ),
        )

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the old branches and the new ones, each twice as coarse as the one before."""
        strides = [shape.stride for shape in ins]
        while len(strides) < len(self.widths):
            strides.append(strides[-1] * 2)
        return tuple(
            BranchShape(width, stride) for width, stride in zip(self.widths, strides, strict=False)
        )

    def build(self, ins: Ins) -> nn.Module:
        """Makes one module per outgoing branch."""
        chains = self._chains(ins)
        return _Branching(
            [nn.Identity() if chain is None else chain.build() for chain in chains], len(ins)
        )

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the steps down."""
        outs = []
        for index, chain in enumerate(self._chains(ins)):
            x = xs[min(index, len(xs) - 1)]
            branch = tape.at(f"paths.{index}", branch=index)
            outs.append(x if chain is None else chain.trace(branch, x))
        return tuple(outs)

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow:
        """Every branch grows from one alone."""
        return Flow.by_branch(ops, read, {min(branch, len(ins) - 1) for branch in read})

    def _chains(self, ins: Ins) -> list[Chain | None]:
        chains: list[Chain | None] = []
        for index, out in enumerate(self.out_shapes(ins)):
            if index >= len(ins):
                chains.append(down_chain(type(self).step, ins[-1], out, "relu"))
            elif out.channels == ins[index].channels:
                chains.append(None)
            else:
                convs = type(self).step(ins[index].channels, out.channels, 1, "relu")
                chains.append(Chain(convs))
        return chains


@register_kind(Slot.TRANSITION, "separable")
@dataclass(frozen=True, kw_only=True)
class SeparableTransition(BranchingTransition):
    """Transition by depthwise 3x3 and pointwise convolutions (Lite-HRNet)."""

    step: ClassVar[Step] = staticmethod(separable_step)


@register_kind(Slot.TRANSITION, "dense")
@dataclass(frozen=True, kw_only=True)
class DenseTransition(BranchingTransition):
    """Transition by dense 3x3 convolutions (HRNet)."""

    step: ClassVar[Step] = staticmethod(dense_step)


class _Branching(nn.Module):
    """Branch b passes paths[b]; new branches all start from the last old one."""

    def __init__(self, paths: list[nn.Module], num_ins: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)
        self.num_ins = num_ins

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        last = self.num_ins - 1
        return [path(xs[min(index, last)]) for index, path in enumerate(self.paths)]


@dataclass(frozen=True, kw_only=True)
class SingleTransition(LayerSpec):
    """Changes the width, and perhaps the stride, of a network's only branch."""

    width: int = required(int, help="write the new width")

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for a single branch."""
        if len(ins) == 1:
            return ()
        return (
            Problem(
                rule="this transition works on a single branch",
                got=f"{len(ins)} branches",
                do="use 'separable' or 'dense'",
            ),
        )

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the changed branch."""
        return (BranchShape(self.width, ins[0].stride * self.relative_stride),)

    @property
    @abstractmethod
    def relative_stride(self) -> int:
        """How many times coarser the branch becomes."""


@dataclass(frozen=True, kw_only=True)
class ConvTransition(SingleTransition):
    """A single-branch transition that is one part with a module and a closed form."""

    @abstractmethod
    def part(self, in_channels: int) -> Chain | Residual:
        """Returns the convolutions."""

    def build(self, ins: Ins) -> nn.Module:
        """Makes the convolutions."""
        return OneBranch(self.part(ins[0].channels).build())

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the convolutions down."""
        return (self.part(ins[0].channels).trace(tape.at("convs", branch=0), xs[0]),)


@register_kind(Slot.TRANSITION, "bottleneck")
@dataclass(frozen=True, kw_only=True)
class BottleneckTransition(ConvTransition):
    """A bottleneck with a projected shortcut: the first block of HRNet's stage 1."""

    reduce_ratio: int = choice(4, among=(2, 4, 8), help="how much narrower the middle is")

    @property
    def relative_stride(self) -> int:
        """1: the resolution stays."""
        return 1

    def part(self, in_channels: int) -> Residual:
        """Returns the residual chain."""
        hidden = max(1, self.width // self.reduce_ratio)
        convs = (
            pointwise(in_channels, hidden),
            conv3x3(hidden, hidden),
            pointwise(hidden, self.width),
        )
        return Residual(convs, shortcut=pointwise(in_channels, self.width))


@register_kind(Slot.TRANSITION, "inverted_residual")
@dataclass(frozen=True, kw_only=True)
class InvertedResidualTransition(ConvTransition):
    """MobileNetV2's inverted residual where width or stride change, so without a shortcut."""

    expand_ratio: int = choice(6, among=(1, 2, 4, 6), help="how much wider the middle is")
    stride: int = choice(2, among=(1, 2), help="how many times coarser the branch becomes")

    @property
    def relative_stride(self) -> int:
        """The ``stride`` field."""
        return self.stride

    def part(self, in_channels: int) -> Chain:
        """Returns the convolutions."""
        return inverted_bottleneck(
            in_channels, self.width, expand_ratio=self.expand_ratio, stride=self.stride
        )


@register_kind(Slot.TRANSITION, "pointwise")
@dataclass(frozen=True, kw_only=True)
class PointwiseTransition(ConvTransition):
    """One 1x1 convolution, as before the heads of MobileNetV2 and ShuffleNetV2."""

    act: str = choice("relu", among=("relu", "relu6"), help="the activation after it")

    @property
    def relative_stride(self) -> int:
        """1: the resolution stays."""
        return 1

    def part(self, in_channels: int) -> Chain:
        """Returns the convolution."""
        act: Activation = "relu6" if self.act == "relu6" else "relu"
        return Chain((Conv(in_channels=in_channels, out_channels=self.width, act=act),))


@register_kind(Slot.TRANSITION, "shuffle_unit")
@dataclass(frozen=True, kw_only=True)
class ShuffleUnitTransition(SingleTransition):
    """ShuffleNetV2's down-sampling unit: both of its paths see all channels.

    Source: Ma et al., ShuffleNetV2 (arXiv 1807.11164), figure 3d.
    """

    @property
    def relative_stride(self) -> int:
        """2: the resolution halves."""
        return 2

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for a single branch and an even width."""
        return super().problems(ins) + even_channels_problems(self.width)

    def build(self, ins: Ins) -> nn.Module:
        """Makes the two paths."""
        return _TwoPaths(*(path.build() for path in self._paths(ins[0].channels)))

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the two paths down."""
        tape = tape.at("", branch=0)
        short, long = self._paths(ins[0].channels)
        first = short.trace(tape.at("short"), xs[0])
        return (tape.interleave(first, long.trace(tape.at("long"), xs[0])),)

    def _paths(self, in_channels: int) -> tuple[Chain, Chain]:
        half = self.width // 2
        return (
            Chain((depthwise(in_channels, stride=2), pointwise(in_channels, half, "relu"))),
            Chain(
                (
                    pointwise(in_channels, half, "relu"),
                    depthwise(half, stride=2),
                    pointwise(half, half, "relu"),
                )
            ),
        )


class _TwoPaths(nn.Module):
    def __init__(self, short: nn.Module, long: nn.Module) -> None:
        super().__init__()
        self.short = short
        self.long = long

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        return [interleave(self.short(xs[0]), self.long(xs[0]))]
