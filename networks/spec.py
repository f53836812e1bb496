"""``NetworkSpec``: a network as data, folded from layers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from blocks import (
    IMAGE,
    SLOTS,
    BlockSpec,
    Composite,
    Flow,
    Fold,
    ImageSize,
    Ins,
    LayerSpec,
    Op,
    Problem,
    Shape,
    Slot,
    SpecError,
    Tape,
    check_image_size,
    quoted,
)
from networks._applying import KIND_WORDS
from networks.heads import Head

LARGEST_DEPTH = 1000
"""The largest depth of a group, and number of units of a stage: a fold takes each in turn."""


@dataclass(frozen=True, kw_only=True)
class GroupSpec(Composite):
    """Some of a unit's branches, with the block that works on them, ``depth`` times.

    Attributes:
        branches: The branches' numbers, finest first.
        block: The block.
        depth: How often it is repeated.
    """

    branches: tuple[int, ...]
    block: BlockSpec
    depth: int = 1

    def __post_init__(self) -> None:
        """Sorts the branches and checks the depth.

        Raises:
            SpecError: If the depth is below 1 or a branch is named twice.
        """
        object.__setattr__(self, "branches", tuple(sorted(self.branches)))
        problems = []
        if type(self.depth) is not int or not 1 <= self.depth <= LARGEST_DEPTH:
            problems.append(
                Problem(
                    where="depth",
                    rule=f"a depth is a whole number from 1 to {LARGEST_DEPTH}",
                    got=quoted(self.depth),
                    do="write 2, for example",
                )
            )
        if not self.branches or len(set(self.branches)) < len(self.branches):
            problems.append(
                Problem(
                    where="branches",
                    rule="a group names at least one branch, each once",
                    got=quoted(list(self.branches)),
                    do="write branch numbers such as [0, 1]",
                )
            )
        if problems:
            raise SpecError(problems)

    def children(self) -> tuple[tuple[str, LayerSpec], ...]:
        """Returns the block as often as the depth says."""
        return tuple((f"block.{index}", self.block) for index in range(self.depth))

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Returns the block's problems once, with the branches' numbers in the unit."""
        return tuple(
            dataclasses.replace(
                problem.under(f"block{kind_label(self.block)}"),
                branch=None if problem.branch is None else self.branches[problem.branch],
            )
            for problem in self.block.problems(ins)
        )


@dataclass(frozen=True, kw_only=True)
class _Body(LayerSpec):
    """The groups of a unit, each working on its own branches."""

    groups: tuple[GroupSpec, ...]

    def _select(self, group: GroupSpec, ins: Ins) -> Ins:
        return tuple(ins[branch] for branch in group.branches)

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        named = sorted(branch for group in self.groups for branch in group.branches)
        if named != list(range(len(ins))):
            return (
                Problem(
                    rule=f"every branch from 0 to {len(ins) - 1} must be in exactly one group",
                    got=f"groups over {quoted([list(group.branches) for group in self.groups])}",
                    do="name each branch in one group's 'branches'",
                ),
            )
        return tuple(
            problem.under(str(index))
            for index, group in enumerate(self.groups)
            for problem in group.problems(self._select(group, ins))
        )

    def out_shapes(self, ins: Ins) -> Ins:
        return ins

    def parts(self, ins: Ins) -> tuple[tuple[LayerSpec, Ins], ...]:
        return tuple((group, self._select(group, ins)) for group in self.groups)

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow | None:
        del ins
        for group in self.groups:
            is_apart = read.isdisjoint(group.branches) or read.issuperset(group.branches)
            if not (is_apart or group.block.independent_branches):
                return None
        return Flow.by_branch(ops, read, read)

    def build(self, ins: Ins) -> nn.Module:
        return _Partition(
            [group.build(self._select(group, ins)) for group in self.groups],
            [group.branches for group in self.groups],
        )

    def trace(self, tape: Tape, ins: Ins, xs: tuple[Shape, ...]) -> tuple[Shape, ...]:  # type: ignore[override]
        for index, group in enumerate(self.groups):
            inner = Tape()
            group.trace(inner, self._select(group, ins), [xs[b] for b in group.branches])
            tape.at(str(index)).splice(tuple(inner.ops), group.branches)
        return xs


class _Partition(nn.ModuleList):
    def __init__(self, groups: list[nn.Module], branches: list[tuple[int, ...]]) -> None:
        super().__init__(groups)
        self.branches = branches

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        outs = list(xs)
        for group, branches in zip(self, self.branches, strict=True):
            results = group([xs[branch] for branch in branches])
            for branch, result in zip(branches, results, strict=True):
                outs[branch] = result
        return outs


@dataclass(frozen=True, kw_only=True)
class UnitSpec(Composite):
    """Groups of blocks on all branches, then a fusion: what the papers call a module.

    Groups are put in order and, where the block treats branches independently, merged if they
    have the same block and depth, so that equal units are written equally.

    Attributes:
        body: The groups; together they name every branch once.
        fusion: The exchange at the end.
    """

    body: tuple[GroupSpec, ...]
    fusion: LayerSpec

    def __post_init__(self) -> None:
        """Puts the groups into their canonical form."""
        merged: list[GroupSpec] = []
        for group in sorted(self.body, key=lambda group: group.branches):
            for index, other in enumerate(merged):
                same = (other.block, other.depth) == (group.block, group.depth)
                apart = set(other.branches).isdisjoint(group.branches)
                if same and apart and group.block.independent_branches:
                    branches = other.branches + group.branches
                    merged[index] = dataclasses.replace(other, branches=branches)
                    break
            else:
                merged.append(group)
        object.__setattr__(self, "body", tuple(merged))

    def children(self) -> tuple[tuple[str, LayerSpec], ...]:
        """Returns the body and the fusion."""
        return (("body", self._body), ("fusion", self.fusion))

    @cached_property
    def _body(self) -> _Body:
        return _Body(groups=self.body)

    def kind_label(self, child: LayerSpec) -> str:
        """Names the fusion's kind."""
        return kind_label(child)


@dataclass(frozen=True, kw_only=True)
class StageSpec(Composite):
    """A transition and the units that follow it at the same branches.

    Attributes:
        transition: From the branches before to those of the stage.
        units: The units, in order; there may be none.
    """

    transition: LayerSpec
    units: tuple[UnitSpec, ...] = ()

    def children(self) -> tuple[tuple[str, LayerSpec], ...]:
        """Returns the transition and the units."""
        units = ((f"units.{index}", unit) for index, unit in enumerate(self.units))
        return (("transition", self.transition), *units)

    def kind_label(self, child: LayerSpec) -> str:
        """Names the transition's kind."""
        return kind_label(child)


@dataclass(frozen=True, kw_only=True)
class NetworkSpec(Composite):
    """A whole network as data: stem, stages, aggregator, head.

    A spec that exists can be built: what does not fit raises on construction, all of it at once.

    Attributes:
        stem: From the image to the first branch.
        stages: The stages, in order.
        aggregator: What is done with the branches before the head.
        head: From the branches to the output.
    """

    stem: LayerSpec
    stages: tuple[StageSpec, ...]
    aggregator: LayerSpec
    head: Head

    def __post_init__(self) -> None:
        """Checks that every layer can work on what the one before it puts out.

        Raises:
            SpecError: With everything that does not fit.
        """
        problems = _one_per_cause(self.problems(IMAGE))
        if problems:
            raise SpecError(problems)

    def children(self) -> tuple[tuple[str, LayerSpec], ...]:
        """Returns stem, stages, aggregator and head."""
        stages = ((f"stages.{index}", stage) for index, stage in enumerate(self.stages))
        return (
            ("stem", self.stem),
            *stages,
            ("aggregator", self.aggregator),
            ("head", self.head),
        )

    def kind_label(self, child: LayerSpec) -> str:
        """Names the kinds of stem, aggregator and head."""
        return kind_label(child)

    def build(self, ins: Ins = IMAGE) -> Network:
        """Makes the network's module, with PyTorch's default initialisation.

        Its state-dict prefixes are the spec's addresses.
        """
        modules: list[tuple[str, nn.Module]] = []
        for name, child in self.children():
            modules.append((name, child.build(ins)))
            ins = child.out_shapes(ins)
        return Network(modules)

    def operations(self, size: ImageSize) -> tuple[Op, ...]:
        """Returns what the network executes on one image of this size, in closed form.

        Raises:
            BranchworkError: If a stride does not divide the image.
        """
        check_image_size("input", size, self.coarsest_stride)
        return self.ops(IMAGE, size)

    @property
    def num_outputs(self) -> int:
        """Number of maps that the network puts out."""
        return self.head.num_outputs

    def with_outputs(self, num_outputs: int) -> NetworkSpec:
        """Returns the same network with another number of outputs."""
        head = dataclasses.replace(self.head, num_outputs=num_outputs)
        return dataclasses.replace(self, head=head)

    @cached_property
    def stage_shapes(self) -> tuple[Ins, ...]:
        """The branches that every stage works on."""
        ins = self.stem.out_shapes(IMAGE)
        shapes = []
        for stage in self.stages:
            shapes.append(stage.transition.out_shapes(ins))
            ins = stage.out_shapes(ins)
        return tuple(shapes)

    @property
    def num_branches(self) -> int:
        """The largest number of branches that a stage works on."""
        return max((len(shapes) for shapes in self.stage_shapes), default=1)

    @property
    def coarsest_stride(self) -> int:
        """The stride of the coarsest branch, which must divide the image's sides."""
        stem = self.stem.out_shapes(IMAGE)
        return max(shape.stride for shapes in (stem, *self.stage_shapes) for shape in shapes)

    @property
    def output_stride(self) -> int:
        """The stride of the output maps relative to the image."""
        return self.out_shapes(IMAGE)[0].stride


class Network(Fold):
    """The module of a ``NetworkSpec``: an image batch in, a batch of maps out.

    Shape:
        (N, 3, H, W) to (N, num_outputs, H/s, W/s), s the spec's ``output_stride``.
    """

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[override]
        """Folds the image through all layers."""
        return super().forward([image])[0]


def kind_label(layer: LayerSpec) -> str:
    """Returns `` (kind)`` for a registered layer, "" for a composite."""
    for registry in SLOTS.values():
        for entry in registry:
            if entry.cls is type(layer):
                return f" ({entry.name})"
    return ""


def slot_of(address: str) -> Slot:
    """Returns the slot to which an address belongs.

    >>> slot_of("stages.1.units.0.body.0.block.1.conv").value
    'block'
    """
    parts = address.split(".")
    return next(KIND_WORDS[part] for part in parts if part in KIND_WORDS)


def _one_per_cause(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Keeps the first of the problems that differ only in where, and counts the others."""
    causes: dict[Problem, list[Problem]] = {}
    for problem in problems:
        causes.setdefault(dataclasses.replace(problem, where=""), []).append(problem)
    return tuple(
        first
        if not others
        else dataclasses.replace(first, where=f"{first.where} and {len(others)} more")
        for first, *others in causes.values()
    )
