"""Fusions that exchange less: between neighbours, over fewer channels, through pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from blocks import (
    BranchShape,
    Chain,
    Flow,
    Ins,
    LayerSpec,
    Op,
    Problem,
    Shape,
    Slot,
    Tape,
    choice,
    pointwise,
)
from networks._chains import STEPS, down_chain, low_rank_step, pointwise_step
from networks._slots import register_kind
from networks.fusions import BranchPath, PathFusion, RectifiedSum, single_branch_problems, up_path


@register_kind(Slot.FUSION, "adjacent_only")
@dataclass(frozen=True, kw_only=True)
class AdjacentFusion(PathFusion):
    """Fusion between neighbours: each branch receives from the next finer and the next coarser.

    out_i = ReLU(x_i + path_i,i-1(x_i-1) + path_i,i+1(x_i+1)), with the paths of the fusion
    ``sum``. Every path crosses one halving, so n branches have 2·(n - 1) short paths in place of
    n·(n - 1); what a branch knows reaches all others after n - 1 units.

    Shape:
        (N, C_b, H/s_b, W/s_b) for every branch b, in and out.
    """

    def num_outs(self, num_ins: int) -> int:
        """All of them."""
        return num_ins

    def sources(self, target: int, num_ins: int) -> tuple[int, ...]:
        """The neighbours."""
        return tuple(j for j in (target - 1, target + 1) if 0 <= j < num_ins)

    def build(self, ins: Ins) -> nn.Module:
        """Makes the paths and the sum."""
        return RectifiedSum(self.build_paths(ins))

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the sums down."""
        return self.trace_sums(tape, ins, xs)


@register_kind(Slot.FUSION, "low_rank")
@dataclass(frozen=True, kw_only=True)
class LowRankFusion(PathFusion):
    """Textbook fusion with the channel mixing of every path factored through a smaller rank.

    The convolution of a path that mixes C into D channels becomes two, through
    R = min(C, D) // ratio channels without norm or activation in between: a 1x1 costs R·(C + D)
    multiply-accumulates at every position in place of C·D, so less where ratio is above
    1 + min(C, D) / max(C, D). Of a dense path, the 3x3 convolution narrows and a 1x1 widens.

    Shape:
        (N, C_b, H/s_b, W/s_b) for every branch b, in and out.
    """

    ratio: int = choice(4, among=(2, 4, 8), help="how many times smaller the rank is")

    def num_outs(self, num_ins: int) -> int:
        """All of them."""
        return num_ins

    def path(self, source: BranchShape, target: BranchShape) -> BranchPath:
        """Returns the path from one branch to another."""
        if source.stride > target.stride:
            widen = low_rank_step(pointwise_step, self.ratio)
            convs = Chain(widen(source.channels, target.channels, 1, None))
            return BranchPath(convs, source.stride // target.stride)
        step = low_rank_step(STEPS[self.paths], self.ratio)
        return BranchPath(down_chain(step, source, target, None), 1)

    def build(self, ins: Ins) -> nn.Module:
        """Makes the paths and the sum."""
        return RectifiedSum(self.build_paths(ins))

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the sums down."""
        return self.trace_sums(tape, ins, xs)


@register_kind(Slot.FUSION, "pooled")
@dataclass(frozen=True, kw_only=True)
class PooledFusion(LayerSpec):
    """Fusion with average pooling and one 1x1 convolution where other fusions have strided ones.

    Each branch is pooled step by step down to the coarsest; every coarser branch reads the step of
    its resolution, so the ladder is climbed down once for all of them. A path to a coarser branch
    is then a 1x1 convolution with batch norm at the coarse resolution, one to a finer branch the
    same and nearest upsampling, as in the fusion ``sum``:

        out_i = ReLU(x_i + sum over j < i of conv_ij(pool_i(x_j)) + sum over j > i of up_ij(x_j))

    A path from C to D channels costs C·D multiply-accumulates at every position of the coarser
    branch; pooling costs none.

    Shape:
        (N, C_b, H/s_b, W/s_b) for every branch b, in and out.
    """

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for at least two branches."""
        return single_branch_problems(ins)

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the branches unchanged."""
        return ins

    def build(self, ins: Ins) -> nn.Module:
        """Makes the paths and the sum; the path from branch j to branch i stands at ``i.j``."""
        paths = nn.ModuleList(
            nn.ModuleDict(
                {str(j): _path(source, target).build() for j, source in enumerate(ins) if j != i}
            )
            for i, target in enumerate(ins)
        )
        return _PooledSum(paths, _ladder(ins))

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the ladders down, then the sums, then their activations."""
        ratios = _ladder(ins)
        pooled = []
        for j, x in enumerate(xs):
            steps = [x]
            for ratio in ratios[j:]:
                steps.append(tape.at("", branch=j).avg_pool(steps[-1], ratio))
            pooled.append(steps)
        for i, target in enumerate(ins):
            branch = tape.at("", branch=i)
            for j, source in enumerate(ins):
                if j != i:
                    x = pooled[j][max(i - j, 0)]
                    y = _path(source, target).trace(branch.at(f"paths.{i}.{j}"), x)
                    branch.add(xs[i], y)
        return tuple(tape.at("act", branch=i).act(x) for i, x in enumerate(xs))

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow:
        """Every sum is made for one branch, every step of a ladder for it and the coarser ones."""
        steps = [i for j in range(len(ins)) for i in range(j + 1, len(ins))]
        unread = [place for place, i in enumerate(steps) if i > max(read)]
        unread += [
            place for place, op in enumerate(ops) if place >= len(steps) and op.branch not in read
        ]
        return Flow(tuple(unread), frozenset(range(len(ins))))


def _ladder(ins: Ins) -> tuple[int, ...]:
    """How many times coarser each branch is than the one before it."""
    return tuple(b.stride // a.stride for a, b in pairwise(ins))


def _path(source: BranchShape, target: BranchShape) -> BranchPath:
    if source.stride > target.stride:
        return up_path(source, target)
    return BranchPath(Chain((pointwise(source.channels, target.channels),)), 1)


class _PooledSum(nn.Module):
    """The rectified sums over paths from the branches, pooled for each coarser one.

    Args:
        paths: For each branch, the paths to it by the number of their source.
        ratios: How many times coarser each branch is than the one before it.
    """

    def __init__(self, paths: nn.ModuleList, ratios: tuple[int, ...]) -> None:
        super().__init__()
        self.paths = paths
        self.ratios = ratios
        self.act = nn.ReLU()

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        """Pools, then sums up what comes in on each path."""
        pooled = [self._steps(j, x) for j, x in enumerate(xs)]
        sums = []
        for i, paths in enumerate(self.paths):
            assert isinstance(paths, nn.ModuleDict)
            total = xs[i]
            for j, path in paths.items():
                total = total + path(pooled[int(j)][max(i - int(j), 0)])
            sums.append(total)
        return [self.act(total) for total in sums]

    def _steps(self, j: int, x: Tensor) -> list[Tensor]:
        """The branch at its own resolution and at that of every coarser branch."""
        steps = [x]
        for ratio in self.ratios[j:]:
            steps.append(F.avg_pool2d(steps[-1], ratio))
        return steps
