"""Conditional channel weighting, the block of Lite-HRNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from blocks import (
    Chain,
    CrossBranchBlock,
    Flow,
    Ins,
    Op,
    Problem,
    Shape,
    Tape,
    choice,
    depthwise,
    even_channels_problems,
    interleave,
    pointwise,
    register_block,
)
from blocks._gate import Gate


@register_block("ccw")
@dataclass(frozen=True, kw_only=True)
class ConditionalChannelWeighting(CrossBranchBlock):
    """Conditional channel weighting: the shuffle block without its 1x1 convolutions.

    Half of each branch's channels pass untouched. The other half is weighted by numbers that are
    computed from all branches together at the coarsest resolution (cross-resolution weighting),
    filtered by a depthwise 3x3 convolution, and weighted by numbers computed from the branch
    itself (spatial weighting). Weights cost far less than the 1x1 convolutions that they replace:
    per block 2·T·R positions of the coarsest branch and 2·c_b·(c_b/4) once per branch, where
    c_b = C_b/2, T = sum of c_b and R = T / reduce_ratio.

    Source: Yu et al., Lite-HRNet (arXiv 2104.06403), section 3.2, equations 1-6; details
    (reduction, order) from the released code.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out, C_b even.
    """

    cross_resolution: bool = choice(
        default=True, among=(False, True), help="weight across the branches (H in the paper)"
    )
    spatial: bool = choice(
        default=True, among=(False, True), help="weight within each branch (F in the paper)"
    )
    reduce_ratio: int = choice(8, among=(4, 8, 16), help="narrowing of cross-resolution weighting")
    spatial_reduce_ratio: int = choice(4, among=(2, 4, 8), help="narrowing of spatial weighting")

    def __post_init__(self) -> None:
        """Sets the ratio of a weighting that is switched off to its default.

        So that networks which compute the same are written the same.
        """
        super().__post_init__()
        if not self.cross_resolution:
            object.__setattr__(self, "reduce_ratio", 8)
        if not self.spatial:
            object.__setattr__(self, "spatial_reduce_ratio", 4)

    @property
    def independent_branches(self) -> bool:
        """Whether the weighting across the branches is switched off."""
        return not self.cross_resolution

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for halves on every branch."""
        return tuple(
            replace(problem, branch=index, stride=shape.stride)
            for index, shape in enumerate(ins)
            for problem in even_channels_problems(shape.channels)
        )

    def build(self, ins: Ins) -> nn.Module:
        """Makes the module for all branches."""
        return _CCW(
            ratios=_ratios(ins),
            cross=self._cross(ins).build() if self.cross_resolution else None,
            depthwise=[depthwise(shape.channels // 2).build() for shape in ins],
            spatial=[
                self._spatial(shape.channels // 2).build() if self.spatial else None
                for shape in ins
            ],
        )

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the module's operations down."""
        halves = [(x[0] // 2, *x[1:]) for x in xs]
        if self.cross_resolution:
            _trace_cross(tape, self._cross(ins), _ratios(ins), halves)
        outs = []
        for index, (shape, half) in enumerate(zip(ins, halves, strict=True)):
            branch = tape.at("", branch=index)
            depthwise(half[0]).trace(branch.at(f"depthwise.{index}"), half)
            if self.spatial:
                self._spatial(shape.channels // 2).trace(branch.at(f"spatial.{index}"), half)
            outs.append(branch.interleave(half, half))
        return tuple(outs)

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow | None:
        """Every branch needs the weights, which all branches make together."""
        if not self.cross_resolution:
            return super().flow(ins, ops, read)
        unread = tuple(
            place
            for place, op in enumerate(ops)
            if op.branch not in read
            and op.kind not in {"avg_pool", "cat"}
            and not op.address.startswith("cross")
        )
        return Flow(unread, frozenset(range(len(ins))))

    def _cross(self, ins: Ins) -> Chain:
        total = sum(shape.channels // 2 for shape in ins)
        hidden = max(1, total // self.reduce_ratio)
        return Chain((pointwise(total, hidden, "relu"), pointwise(hidden, total, "sigmoid")))

    def _spatial(self, channels: int) -> Gate:
        return Gate(channels, max(1, channels // self.spatial_reduce_ratio))


def _ratios(ins: Ins) -> tuple[int, ...]:
    """How many times finer each branch is than the last."""
    return tuple(ins[-1].stride // shape.stride for shape in ins)


def _trace_cross(tape: Tape, convs: Chain, ratios: tuple[int, ...], halves: list[Shape]) -> None:
    pooled = [
        tape.at("", branch=index).avg_pool(half, ratio) if ratio > 1 else half
        for index, (ratio, half) in enumerate(zip(ratios, halves, strict=True))
    ]
    coarsest = tape.at("", branch=len(halves) - 1)
    gathered = coarsest.cat(*pooled) if len(pooled) > 1 else pooled[0]
    convs.trace(coarsest.at("cross"), gathered)
    for index, (ratio, half, small) in enumerate(zip(ratios, halves, pooled, strict=True)):
        branch = tape.at("", branch=index)
        branch.mul(half, branch.upsample_nearest(small, ratio) if ratio > 1 else small)


class _CCW(nn.Module):
    """The module of ``ConditionalChannelWeighting``."""

    def __init__(
        self,
        ratios: tuple[int, ...],
        cross: nn.Module | None,
        depthwise: list[nn.Sequential],
        spatial: list[nn.Module | None],
    ) -> None:
        super().__init__()
        self.ratios = ratios
        self.cross = cross
        self.depthwise = nn.ModuleList(depthwise)
        self.spatial = nn.ModuleList(gate for gate in spatial if gate is not None)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        halves = [x.chunk(2, dim=1) for x in xs]
        worked = self._weighted([second for _, second in halves])
        outs = []
        for index, (kept, _) in enumerate(halves):
            y = self.depthwise[index](worked[index])
            if len(self.spatial) > 0:
                y = self.spatial[index](y)
            outs.append(interleave(kept, y))
        return outs

    def _weighted(self, halves: list[Tensor]) -> list[Tensor]:
        if self.cross is None:
            return halves
        pooled = [
            F.avg_pool2d(half, ratio) if ratio > 1 else half
            for ratio, half in zip(self.ratios, halves, strict=True)
        ]
        gathered = torch.cat(pooled, dim=1) if len(pooled) > 1 else pooled[0]
        parts = self.cross(gathered).split([half.shape[1] for half in halves], dim=1)
        return [
            half * (F.interpolate(part, scale_factor=ratio) if ratio > 1 else part)
            for ratio, half, part in zip(self.ratios, halves, parts, strict=True)
        ]
