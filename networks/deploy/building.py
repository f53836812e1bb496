"""Builds graphs: what every rewriting step needs to read one graph and write the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from networks.deploy.capturing import ADDRESS, SHAPE

aten = torch.ops.aten
NUM_SIDES = 4
"""Sides of a batch of maps: images, channels, rows, columns."""


class Builder:
    """A graph under construction, with its constants.

    Attributes:
        graph: The graph.
        constants: Its weights and other constants by name.
    """

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self._names: dict[str, str] = {}
        self._nodes: dict[str, fx.Node] = {}

    def constant(self, name: str, value: Tensor) -> fx.Node:
        """Returns a node for a constant; another value under a name in use gets a new name."""
        free, number = name, 1
        while free in self.constants:
            if self.constants[free] is value:
                return self._nodes[free]
            number += 1
            free = f"{name}_{number}"
        node = self.graph.get_attr(free)
        node.meta[ADDRESS] = ""
        node.meta[SHAPE] = tuple(value.shape)
        self.constants[free] = value
        self._names[free] = name
        self._nodes[free] = node
        return node

    def value(self, node: fx.Node) -> Tensor:
        """Returns the value of a constant."""
        return self.constants[str(node.target)]

    def call(
        self,
        target: Callable[..., Any],
        *args: Any,  # noqa: ANN401 - any operator's arguments
        address: str,
        named: Mapping[str, Any] | None = None,
    ) -> fx.Node:
        """Appends a call; its shape is found by calling the operator without values."""
        node = self.graph.call_function(target, args, dict(named or {}))
        node.meta[ADDRESS] = address
        node.meta[SHAPE] = self._shape(target, args, dict(named or {}))
        return node

    def _shape(self, target: Callable[..., Any], args: Any, named: Any) -> Any:  # noqa: ANN401
        result = target(*fx.map_arg(args, self._stand_in), **fx.map_arg(named, self._stand_in))
        if isinstance(result, Tensor):
            return tuple(result.shape)
        return tuple(tuple(each.shape) for each in result)

    def _stand_in(self, node: fx.Node) -> Any:  # noqa: ANN401 - a tensor or several
        """Returns tensors of a node's shape that have no values."""
        if node.op == "get_attr":
            value = self.value(node).to("meta")
            # Of one type with all others, whichever the network's is.
            return value.float() if value.is_floating_point() else value
        shape = node.meta[SHAPE]
        if shape and isinstance(shape[0], tuple):
            return [torch.empty(each, device="meta") for each in shape]
        return torch.empty(shape, device="meta")

    def module(self) -> fx.GraphModule:
        """Returns the graph as a module, without what nothing depends on."""
        self.graph.eliminate_dead_code()
        constants = _Constants()
        for node in self.graph.nodes:
            if node.op == "get_attr":
                # A name that only dropped constants had is free again.
                name = str(node.target)
                node.target = constants.add(self._names[name], self.value(node))
        return fx.GraphModule(constants.values, self.graph)


class _Constants:
    """Constants by names of which none is what others lie in.

    Attributes:
        values: The constants.
    """

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}
        self._folders: set[str] = set()

    def add(self, wanted: str, value: Tensor) -> str:
        """Adds a constant; returns its name, which is numbered where another has it."""
        *folders, last = wanted.split(".")
        path = ""
        for folder in folders:
            path = self._free(f"{path}{folder}", None) + "."
            self._folders.add(path.removesuffix("."))
        name = self._free(f"{path}{last}", value)
        self.values[name] = value
        return name

    def _free(self, wanted: str, value: Tensor | None) -> str:
        """Returns a free name; that of the same constant, or for no value a folder's, is one."""
        name, number = wanted, 1
        while self._is_taken(name, value):
            number += 1
            name = f"{wanted}_{number}"
        return name

    def _is_taken(self, name: str, value: Tensor | None) -> bool:
        is_folder_taken = value is not None and name in self._folders
        return is_folder_taken or (name in self.values and self.values[name] is not value)


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Returns the sides of the tensor that a node makes."""
    shape: tuple[int, ...] = node.meta[SHAPE]
    return shape


def is_maps(node: fx.Node) -> bool:
    """Tells whether a node makes one tensor of maps (N, C, H, W)."""
    shape = shape_of(node)
    return len(shape) == NUM_SIDES and not isinstance(shape[0], tuple)


def arguments_of(node: fx.Node) -> tuple[Any, ...]:
    """Returns a call's positional arguments."""
    return tuple(node.args)


def address_of(node: fx.Node) -> str:
    """Returns the address of the module that executed a node."""
    address: str = node.meta[ADDRESS]
    return address


def constants_of(module: fx.GraphModule) -> dict[str, Tensor]:
    """Returns the constants that a graph reads, by name."""
    return {
        str(node.target): _attribute(module, str(node.target))
        for node in module.graph.nodes
        if node.op == "get_attr"
    }


def _attribute(module: Any, path: str) -> Tensor:  # noqa: ANN401 - modules, then a tensor
    for part in path.split("."):
        module = getattr(module, part)
    assert isinstance(module, Tensor)
    return module


Rule = Callable[["Rebuilding", fx.Node], fx.Node | None]
"""Writes a node of the old graph into the new one; None where it is to be copied."""


class Rebuilding:
    """A graph that is written anew, node by node; what no rule knows is copied.

    Attributes:
        build: The new graph.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        self.build = Builder()
        self._old = module
        self._values = constants_of(module)
        self._made: dict[fx.Node, fx.Node] = {}

    def __getitem__(self, node: fx.Node) -> fx.Node:
        """Returns the new node for an old one."""
        return self._made[node]

    @property
    def any_constant(self) -> Tensor:
        """A constant of the old graph with numbers like the image's, for new ones to be alike."""
        floats = (value for value in self._values.values() if value.is_floating_point())
        return next(floats, torch.zeros(()))

    def made_as(self, nodes: frozenset[fx.Node]) -> list[fx.Node]:
        """Returns the old nodes for which some new ones stand."""
        return [old for old, made in self._made.items() if made in nodes]

    def value(self, node: Any) -> Tensor | None:  # noqa: ANN401 - any argument
        """Returns the value of an old constant, None for anything else."""
        if isinstance(node, fx.Node) and node.op == "get_attr":
            return self._values[str(node.target)]
        return None

    def run(
        self, rules: Mapping[Any, Rule], argument: Callable[[fx.Node], fx.Node] | None = None
    ) -> fx.GraphModule:
        """Writes the whole graph.

        Args:
            rules: For each target of a node that is not just copied, what to do.
            argument: Returns what a copied node reads in place of an old node; by default, the
                new node for it.
        """
        self._write(rules, argument or self._made.__getitem__)
        return self.build.module()

    def copied(self) -> Builder:
        """Returns a copy of the graph that can be changed in place."""
        self._write({}, self._made.__getitem__)
        return self.build

    def _write(self, rules: Mapping[Any, Rule], read: Callable[[fx.Node], fx.Node]) -> None:
        for node in self._old.graph.nodes:
            made = rules[node.target](self, node) if node.target in rules else None
            self._made[node] = made if made is not None else self._copy(node, read)

    def copy(self, node: fx.Node, reads: Mapping[fx.Node, fx.Node]) -> fx.Node:
        """Copies a node that reads some nodes in place of old ones, and else the new for the old.

        Args:
            node: A node of the old graph.
            reads: New nodes by the old ones in whose place they are read.
        """
        return self._copy(node, lambda old: reads.get(old) or self._made[old])

    def _copy(self, node: fx.Node, read: Callable[[fx.Node], fx.Node]) -> fx.Node:
        if node.op == "get_attr":
            return self.build.constant(str(node.target), self._values[str(node.target)])
        return self.build.graph.node_copy(node, read)
