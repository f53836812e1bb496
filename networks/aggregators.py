"""Aggregators: what is done with the branches of the last stage before the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from blocks import BranchShape, Chain, Flow, Ins, LayerSpec, Op, Shape, Slot, Tape
from networks._chains import separable_step
from networks._slots import register_kind


@register_kind(Slot.AGGREGATOR, "none")
@dataclass(frozen=True, kw_only=True)
class NoAggregator(LayerSpec):
    """No aggregation: the head sees the branches as they are."""

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the branches unchanged."""
        return ins

    def build(self, ins: Ins) -> nn.Module:
        """Makes a module that does nothing."""
        del ins
        return nn.Identity()

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes nothing down."""
        del tape, ins
        return tuple(xs)

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow:
        """Every branch is passed on."""
        del ins, ops
        return Flow((), read)


@register_kind(Slot.AGGREGATOR, "iterative")
@dataclass(frozen=True, kw_only=True)
class IterativeAggregator(LayerSpec):
    """Lite-HRNet's iterative head: branches are merged from the coarsest to the finest.

    t_b = DS_b(x_b + up(t_{b+1})), where DS is a separable convolution to the width of the next
    finer branch (branch 0 keeps its own) and up is bilinear with aligned corners.

    Source: released code of Lite-HRNet (arXiv 2104.06403); the paper's tables include its cost.

    Shape:
        (N, C_b, H/s_b, W/s_b) in, (N, C_{max(b-1, 0)}, H/s_b, W/s_b) out.
    """

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the branches with the widths of their finer neighbours."""
        return tuple(
            BranchShape(ins[max(index - 1, 0)].channels, shape.stride)
            for index, shape in enumerate(ins)
        )

    def build(self, ins: Ins) -> nn.Module:
        """Makes the convolutions."""
        return _Iterative([chain.build() for chain in self._chains(ins)])

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the merging down, from the coarsest branch on."""
        outs: list[Shape] = []
        chains = self._chains(ins)
        for index in reversed(range(len(ins))):
            branch = tape.at("", branch=index)
            if outs:
                ratio = ins[index + 1].stride // ins[index].stride
                branch.add(xs[index], branch.upsample_bilinear(outs[-1], ratio))
            outs.append(chains[index].trace(branch.at(f"convs.{index}"), xs[index]))
        return tuple(reversed(outs))

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow:
        """Every branch is in all finer ones."""
        merged = frozenset(range(min(read), len(ins)))
        return Flow.by_branch(ops, merged, merged)

    def _chains(self, ins: Ins) -> list[Chain]:
        outs = self.out_shapes(ins)
        return [
            Chain(separable_step(source.channels, target.channels, 1, "relu"))
            for source, target in zip(ins, outs, strict=True)
        ]


class _Iterative(nn.Module):
    def __init__(self, convs: list[nn.Sequential]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        merged: Tensor | None = None
        outs: list[Tensor] = []
        for x, convs in zip(reversed(xs), reversed(self.convs), strict=True):
            if merged is None:
                merged = convs(x)
            else:
                up = F.interpolate(merged, size=x.shape[2:], mode="bilinear", align_corners=True)
                merged = convs(x + up)
            outs.append(merged)
        return outs[::-1]
