"""The one interface of all layers, and its abstract kinds.

A layer is a frozen spec over branch shapes. It says what it puts out (``out_shapes``), what it
executes (``trace``, and from it ``ops``) and how to make its module (``build``). A stem, a block,
a fusion and a whole network are all layers, so a network is a fold.

Every module that a layer builds takes a list of tensors, one per branch, finest first, and gives
such a list back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from ._errors import Problem, SpecError
from ._fields import field_problems
from ._ops import Op, Tape
from ._shapes import BranchShape, ImageSize, Shape

Ins = tuple[BranchShape, ...]


@dataclass(frozen=True)
class Flow:
    """What is read inside a layer.

    Attributes:
        unread: The places of its operations on which nothing depends that is read.
        reads: The numbers of the branches that come in on which something does.
    """

    unread: tuple[int, ...]
    reads: frozenset[int]

    @classmethod
    def by_branch(cls, ops: Sequence[Op], read: frozenset[int], reads: Iterable[int]) -> Flow:
        """Returns the flow of a layer whose branches have their operations to themselves.

        Args:
            ops: The operations, labelled with the branches that go out.
            read: The numbers of those that are read.
            reads: The numbers of the branches that come in for these.
        """
        unread = tuple(place for place, op in enumerate(ops) if op.branch not in read)
        return cls(unread, frozenset(reads))


@dataclass(frozen=True, kw_only=True)
class LayerSpec(ABC):
    """A layer as data: frozen, hashable, comparable, and apart from any module."""

    def __post_init__(self) -> None:
        """Checks every field against its declaration.

        Raises:
            SpecError: If a value does not fit.
        """
        problems = tuple(field_problems(self))
        if problems:
            raise SpecError(problems)

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Returns what keeps the layer from working on these branches (nothing, usually)."""
        del ins
        return ()

    @abstractmethod
    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the branches that the layer puts out; total, also where ``problems`` objects."""

    @abstractmethod
    def build(self, ins: Ins) -> nn.Module:
        """Makes the module, with PyTorch's default initialisation."""

    @abstractmethod
    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes down what the module executes in eval mode, without executing it.

        Args:
            tape: Where to write.
            ins: The branches that come in.
            xs: Their tensor shapes (C_b, H/s_b, W/s_b).

        Returns:
            The tensor shapes that go out.
        """

    def ops(self, ins: Ins, size: ImageSize) -> tuple[Op, ...]:
        """Returns the layer's operations on one image of this size, in closed form."""
        tape = Tape()
        self.trace(tape, ins, [shape.at(size) for shape in ins])
        return tuple(tape.ops)

    def parts(self, ins: Ins) -> tuple[tuple[LayerSpec, Ins], ...]:
        """Returns the layers that it consists of, each with the branches that come in there.

        Their operations, one layer's after another's, are its own. None if it is not made of
        others.
        """
        del ins
        return ()

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow | None:
        """Says what is read inside it if only some of the branches are that it puts out.

        Args:
            ins: The branches that come in.
            ops: Its operations on some image.
            read: The numbers of the branches that are read; never all of them but in a head.

        Returns:
            The flow, or None, as by default, where it has to be recorded from an execution.
        """
        del ins, ops, read
        return None

    def raise_problems(self, ins: Ins, where: str = "") -> None:
        """Raises everything that keeps the layer from working on these branches, at once.

        Raises:
            SpecError: If there is anything.
        """
        problems = self.problems(ins)
        if problems:
            raise SpecError([problem.under(where) for problem in problems])


@dataclass(frozen=True, kw_only=True)
class BlockSpec(LayerSpec):
    """A layer that leaves every branch's shape as it is, so that depth is free."""

    @property
    @abstractmethod
    def independent_branches(self) -> bool:
        """Whether each branch is worked on alone, so that branches can be grouped at will."""

    def out_shapes(self, ins: Ins) -> Ins:
        """Returns the branches unchanged."""
        return ins

    def flow(self, ins: Ins, ops: tuple[Op, ...], read: frozenset[int]) -> Flow | None:
        """Independent branches are read alone."""
        del ins
        return Flow.by_branch(ops, read, read) if self.independent_branches else None


@dataclass(frozen=True, kw_only=True)
class BranchBlock(BlockSpec):
    """A block written for one branch, lifted over all of them."""

    @property
    def independent_branches(self) -> bool:
        """True: no branch sees another."""
        return True

    @abstractmethod
    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the module for one branch: tensor in, tensor of the same shape out."""

    @abstractmethod
    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes down what that module executes."""

    def branch_problems(self, shape: BranchShape) -> tuple[Problem, ...]:
        """Returns what keeps the block from working on this one branch."""
        del shape
        return ()

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Collects every branch's problems."""
        return tuple(
            replace(problem, branch=index, stride=shape.stride)
            for index, shape in enumerate(ins)
            for problem in self.branch_problems(shape)
        )

    def build(self, ins: Ins) -> nn.Module:
        """Makes one module per branch."""
        return EachBranch(self.build_branch(shape) for shape in ins)

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes down the branches one after another."""
        return tuple(
            self.trace_branch(tape.at(str(index), branch=index), shape, x)
            for index, (shape, x) in enumerate(zip(ins, xs, strict=True))
        )


@dataclass(frozen=True, kw_only=True)
class CrossBranchBlock(BlockSpec):
    """A block that sees all its branches at once."""

    @property
    def independent_branches(self) -> bool:
        """False: grouping the branches otherwise would be another network."""
        return False


@dataclass(frozen=True, kw_only=True)
class Composite(LayerSpec):
    """A layer made of named layers, each working on what the one before it put out."""

    @abstractmethod
    def children(self) -> tuple[tuple[str, LayerSpec], ...]:
        """Returns the layers in order, each with its address below this one.

        An address is an attribute, or an attribute and an index (``units.0``).
        """

    def kind_label(self, child: LayerSpec) -> str:
        """Returns how messages name a child's kind, such as `` (ccw)``; nothing by default."""
        del child
        return ""

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Collects the children's problems under their addresses."""
        found: list[Problem] = []
        for name, child in self.children():
            label = name + self.kind_label(child)
            found.extend(problem.under(label) for problem in child.problems(ins))
            ins = child.out_shapes(ins)
        return tuple(found)

    def out_shapes(self, ins: Ins) -> Ins:
        """Folds the branches through the children."""
        for _, child in self.children():
            ins = child.out_shapes(ins)
        return ins

    def parts(self, ins: Ins) -> tuple[tuple[LayerSpec, Ins], ...]:
        """Returns the children."""
        children = [child for _, child in self.children()]
        comings = [ins]
        for child in children[:-1]:
            comings.append(child.out_shapes(comings[-1]))
        return tuple(zip(children, comings, strict=False))

    def build(self, ins: Ins) -> nn.Module:
        """Makes the children's modules at their addresses."""
        modules: list[tuple[str, nn.Module]] = []
        for name, child in self.children():
            modules.append((name, child.build(ins)))
            ins = child.out_shapes(ins)
        return Fold(modules)

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes down the children one after another."""
        shapes = tuple(xs)
        for name, child in self.children():
            shapes = child.trace(tape.at(name), ins, shapes)
            ins = child.out_shapes(ins)
        return shapes


class EachBranch(nn.ModuleList):
    """Applies one module to each branch.

    Shape:
        N tensors (N, C_b, H/s_b, W/s_b) in, the same out.
    """

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        """Applies module b to branch b."""
        return [module(x) for module, x in zip(self, xs, strict=True)]


class Fold(nn.Module):
    """Runs named modules in order, each found at its address.

    Args:
        modules: Addresses (``stem``, ``units.0``) with their modules, in order.
    """

    def __init__(self, modules: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.order = tuple(name for name, _ in modules)
        for name, module in modules:
            holder, _, index = name.partition(".")
            if not index:
                self.add_module(name, module)
                continue
            if holder not in self._modules:
                self.add_module(holder, nn.ModuleList())
            self.get_submodule(holder).append(module)  # type: ignore[operator]

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        """Folds the branches through the modules."""
        for name in self.order:
            xs = self.get_submodule(name)(xs)
        return xs
