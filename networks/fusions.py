"""Fusions: the exchange between branches at the end of a unit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

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
from networks._chains import STEPS, down_chain
from networks._slots import register_kind

PATHS_HELP = "how a path to a coarser branch halves the resolution"


@register_kind(Slot.FUSION, "none")
@dataclass(frozen=True, kw_only=True)
class NoFusion(LayerSpec):
    """No exchange: every branch stays as it is."""

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


@dataclass(frozen=True, kw_only=True)
class PathFusion(LayerSpec):
    """A fusion that sums paths between every pair of branches.

    A path to a finer branch is a 1x1 convolution with batch norm and nearest upsampling; one to a
    coarser branch is a chain of halving steps without a last activation. Every sum is rectified.
    """

    paths: str = choice("separable", among=("separable", "dense"), help=PATHS_HELP)

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for at least two branches."""
        return single_branch_problems(ins)

    @abstractmethod
    def num_outs(self, num_ins: int) -> int:
        """How many branches, finest first, are put out."""

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the branches that are put out."""
        return ins[: self.num_outs(len(ins))]

    def sources(self, target: int, num_ins: int) -> tuple[int, ...]:
        """The branches from which a branch receives: by default all others."""
        return tuple(j for j in range(num_ins) if j != target)

    def path(self, source: BranchShape, target: BranchShape) -> BranchPath:
        """Returns the path from one branch to another."""
        if source.stride > target.stride:
            return up_path(source, target)
        return BranchPath(down_chain(STEPS[self.paths], source, target, None), 1)

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow | None:
        """Every sum is made for one branch."""
        sources = {j for i in read for j in (i, *self.sources(i, len(ins)))}
        return Flow.by_branch(ops, read, sources)

    def build_paths(self, ins: Ins) -> nn.ModuleList:
        """Makes the paths; that from branch j to branch i stands at ``i.j``."""
        return nn.ModuleList(
            nn.ModuleDict(
                {str(j): self.path(ins[j], target).build() for j in self.sources(i, len(ins))}
            )
            for i, target in enumerate(self.out_shapes(ins))
        )

    def trace_sums(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes down what ``RectifiedSum`` executes: the sums, then their activations."""
        outs = self.out_shapes(ins)
        for i, target in enumerate(outs):
            branch = tape.at("", branch=i)
            for j in self.sources(i, len(ins)):
                y = self.path(ins[j], target).trace(branch.at(f"paths.{i}.{j}"), xs[j])
                branch.add(xs[i], y)
        return tuple(tape.at("act", branch=i).act(xs[i]) for i in range(len(outs)))


def single_branch_problems(ins: Ins) -> tuple[Problem, ...]:
    """Returns a problem if there is nothing to exchange."""
    if len(ins) > 1:
        return ()
    return (
        Problem(
            rule="a fusion by paths needs at least two branches",
            got="a single branch",
            do="use the fusion 'none'",
        ),
    )


def up_path(source: BranchShape, target: BranchShape) -> BranchPath:
    """Returns the path to a finer branch: a 1x1 convolution and nearest upsampling."""
    convs = Chain((pointwise(source.channels, target.channels),))
    return BranchPath(convs, source.stride // target.stride)


@dataclass(frozen=True)
class BranchPath:
    """Convolutions, then nearest upsampling where ``ratio`` is above 1."""

    convs: Chain
    ratio: int

    def build(self) -> nn.Sequential:
        """Makes the module; the upsampling stands behind the convolutions."""
        convs = self.convs.build()
        if self.ratio > 1:
            convs.append(nn.Upsample(scale_factor=self.ratio, mode="nearest"))
        return convs

    def trace(self, tape: Tape, x: Shape) -> Shape:
        """Writes down what the module executes."""
        x = self.convs.trace(tape, x)
        if self.ratio == 1:
            return x
        return tape.at(str(len(self.convs.parts))).upsample_nearest(x, self.ratio, module=True)


@register_kind(Slot.FUSION, "sum")
@dataclass(frozen=True, kw_only=True)
class SumFusion(PathFusion):
    """Textbook fusion: each branch becomes the rectified sum of all branches' paths to it.

    out_i = ReLU(x_i + sum over j != i of path_ij(x_j)). With ``outputs="finest"`` only branch 0
    is computed, as in the last unit of HRNet's pose networks.

    Source: Wang et al., HRNet (arXiv 1908.07919), section 3, figure 3.

    Shape:
        (N, C_b, H/s_b, W/s_b) for every branch b, in and out.
    """

    outputs: str = choice("all", among=("all", "finest"), help="the branches that are put out")

    def num_outs(self, num_ins: int) -> int:
        """All of them, or one."""
        return 1 if self.outputs == "finest" else num_ins

    def build(self, ins: Ins) -> nn.Module:
        """Makes the paths and the sum."""
        return RectifiedSum(self.build_paths(ins))

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the sums down."""
        return self.trace_sums(tape, ins, xs)


class RectifiedSum(nn.Module):
    """out_i = ReLU(x_i + sum of paths[i][j](x_j) over the j that are there).

    Args:
        paths: For each branch that is put out, the paths to it by the number of their source.
    """

    def __init__(self, paths: nn.ModuleList) -> None:
        super().__init__()
        self.paths = paths
        self.act = nn.ReLU()

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        """Sums up what comes in on each path."""
        sums = []
        for i, paths in enumerate(self.paths):
            assert isinstance(paths, nn.ModuleDict)
            total = xs[i]
            for j, path in paths.items():
                total = total + path(xs[int(j)])
            sums.append(total)
        return [self.act(total) for total in sums]


@register_kind(Slot.FUSION, "released")
@dataclass(frozen=True, kw_only=True)
class ReleasedFusion(PathFusion):
    """The fusion that the released Lite-HRNet code computes, which the published weights need.

    Its sum for branch 0 is made in place and every sum starts twice at branch 0, so

        z_0 = 2·x_0 + sum over j > 0 of path_0j(x_j)
        z_i = 2·path_i0(z_0) + x_i + sum over j not in {0, i} of path_ij(x_j)    (i > 0)
        out_i = ReLU(z_i)

    The released code runs each path_i0 twice; here it runs once and is doubled, which gives the
    same result for 12-20 % fewer multiply-accumulates. In training, its batch norms take both
    updates of the running statistics at once: a momentum of 1 - (1 - 0.1)², and a counter that
    rises by two.

    Source: HRNet/Lite-HRNet at commit 7b9049d.

    Shape:
        (N, C_b, H/s_b, W/s_b) for every branch b, in and out.
    """

    def num_outs(self, num_ins: int) -> int:
        """All of them."""
        return num_ins

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow | None:
        """Every sum is made for one branch, but the first is in all others as well."""
        return super().flow(ins, ops, read) if 0 in read else None

    def build(self, ins: Ins) -> nn.Module:
        """Makes the paths and the sum."""
        return _ReleasedSum(self.build_paths(ins))

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the sums down, then their activations."""
        for i, target in enumerate(ins):
            branch = tape.at("", branch=i)
            if i == 0:
                branch.mul(xs[0])
            for j, source in enumerate(ins):
                if j == i:
                    if i > 0:
                        branch.add(xs[i], xs[i])
                    continue
                is_doubled = i > 0 and j == 0
                at = branch.at(f"paths.{i}.{j}", published_runs=2 if is_doubled else 1)
                y = self.path(source, target).trace(at, xs[j])
                if is_doubled:
                    branch.mul(y)
                else:
                    branch.add(xs[i], y)
        return tuple(tape.at("act", branch=i).act(x) for i, x in enumerate(xs))


class _ReleasedSum(nn.Module):
    def __init__(self, paths: nn.ModuleList) -> None:
        super().__init__()
        self.paths = paths
        self.act = nn.ReLU()
        for norm in self._doubled_norms():
            assert norm.momentum is not None
            norm.momentum = 1 - (1 - norm.momentum) ** 2

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        first = xs[0] * 2
        for source, path in self._into(0).items():
            first = first + path(xs[int(source)])
        sums = [first]
        for i in range(1, len(xs)):
            paths = self._into(i)
            total = paths["0"](first) * 2
            for j, x in enumerate(xs[1:], start=1):
                total = total + (x if j == i else paths[str(j)](x))
            sums.append(total)
        if self.training:
            for norm in self._doubled_norms():
                assert norm.num_batches_tracked is not None
                norm.num_batches_tracked.add_(1)
        return [self.act(total) for total in sums]

    def _into(self, i: int) -> nn.ModuleDict:
        paths = self.paths[i]
        assert isinstance(paths, nn.ModuleDict)
        return paths

    def _doubled_norms(self) -> list[nn.BatchNorm2d]:
        """The batch norms that the released code runs twice in every step."""
        return [
            module
            for i in range(1, len(self.paths))
            for module in self._into(i)["0"].modules()
            if isinstance(module, nn.BatchNorm2d)
        ]
