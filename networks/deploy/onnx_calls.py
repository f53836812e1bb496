"""One call of a captured graph, and the ONNX graph that it is written into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, fx

from blocks import BranchworkError, Problem, Shape
from networks.deploy.building import address_of, constants_of, shape_of
from networks.deploy.capturing import SHAPE

Value = str
"""Name of a value in an ONNX graph; "" stands for an input that is left out."""

Attributes = Mapping[str, int | float | str | Sequence[int]]


class ExportError(BranchworkError):
    """A network, or one operator of it, cannot be written into a file for another runtime."""


class OnnxGraph:
    """An ONNX graph under construction.

    Attributes:
        nodes: Its nodes, in order.
        initializers: Its weights and other constants, by name.
    """

    def __init__(self, module: fx.GraphModule, dtype: torch.dtype) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._constants = constants_of(module)
        self._dtype = dtype
        self._values: dict[fx.Node, Value | tuple[Value, ...]] = {}
        self._names: Counter[str] = Counter()

    def __getitem__(self, node: fx.Node) -> Value | tuple[Value, ...]:
        """Returns the values that a node of the captured graph makes."""
        if node.op == "get_attr" and node not in self._values:
            name = str(node.target)
            self._values[node] = self.hold(name, self._constants[name])
        return self._values[node]

    def __setitem__(self, node: fx.Node, made: Value | tuple[Value, ...]) -> None:
        """Notes the values that a node of the captured graph makes."""
        self._values[node] = made

    def constant(self, node: fx.Node) -> Tensor | None:
        """Returns the value of a constant, None for what is computed."""
        return self._constants[str(node.target)] if node.op == "get_attr" else None

    def hold(self, name: str, tensor: Tensor) -> Value:
        """Returns a constant's name, after putting it into the graph if it is not there yet."""
        if name not in self.initializers:
            array = tensor.detach().contiguous().numpy()
            self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def scalar(self, number: float) -> Value:
        """Returns a constant of the network's own type."""
        return self.hold(f"constants/{number:.9g}", torch.tensor(number, dtype=self._dtype))

    def floats(self, name: str, tensor: Tensor) -> Value:
        """Returns a tensor of constants in the network's own type."""
        return self.hold(name, tensor.to(self._dtype))

    def is_own_type(self, dtype: torch.dtype | None) -> bool:
        """Tells whether a type that an operator asks for is the network's own."""
        return dtype in {None, self._dtype}

    def name(self, address: str, operator: str) -> str:
        """Returns a new name for a node: where it stands, and what it does."""
        name = f"/{address}/{operator}" if address else f"/{operator}"
        self._names[name] += 1
        number = self._names[name]
        return name if number == 1 else f"{name}_{number}"


class Call:
    """One call of a captured graph, its arguments by their names.

    Attributes:
        outs: The shapes of all tensors that it makes.
        out: The shape of the first of them.
    """

    def __init__(self, graph: OnnxGraph, node: fx.Node) -> None:
        made = node.meta[SHAPE]
        is_one = not made or isinstance(made[0], int)
        self.outs: tuple[Shape, ...] = (made,) if is_one else made
        self.out = self.outs[0]
        self._graph = graph
        self._node = node
        self._given = _arguments(node)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - any argument
        """Returns an argument as it stands in the captured graph."""
        return self._given[name]

    def has(self, name: str) -> bool:
        """Tells whether the operator has an argument, and it is not None."""
        return self._given.get(name) is not None

    @property
    def operator(self) -> str:
        """The operator's name, ``aten.relu.default``."""
        return str(self._node.target)

    def shape(self, name: str) -> Shape:
        """Returns the shape of an argument that is a tensor."""
        return shape_of(self._given[name])

    def value(self, name: str) -> Value:
        """Returns a tensor or a number as an input of a node, "" for None."""
        given = self._given[name]
        if given is None:
            return ""
        if isinstance(given, fx.Node):
            value = self._graph[given]
            assert isinstance(value, str)
            return value
        return self._graph.scalar(given)

    def constant(self, node: fx.Node) -> Tensor | None:
        """Returns the value of an argument that is a constant, None for what is computed."""
        return self._graph.constant(node)

    def values(self, name: str) -> list[Value]:
        """Returns a list of tensors as inputs of a node."""
        found = [self._graph[each] for each in self._given[name]]
        return [each for each in found if isinstance(each, str)]

    def add(
        self, operator: str, inputs: Sequence[Value], attributes: Attributes | None = None
    ) -> Value:
        """Adds a node with one output, and returns that."""
        return self.add_many(operator, inputs, 1, attributes)[0]

    def add_many(
        self,
        operator: str,
        inputs: Sequence[Value],
        num_outputs: int,
        attributes: Attributes | None = None,
    ) -> tuple[Value, ...]:
        """Adds a node and returns its outputs, which bear its name."""
        name = self._graph.name(address_of(self._node), operator)
        outputs = [name, *(f"{name}.{index}" for index in range(1, num_outputs))]
        # Empty inputs at the end would only be dangling arrows in a viewer.
        taken = list(inputs)
        while taken and not taken[-1]:
            taken.pop()
        node = helper.make_node(operator, taken, outputs, name=name)
        for key, value in (attributes or {}).items():
            node.attribute.append(helper.make_attribute(key, value))
        self._graph.nodes.append(node)
        return tuple(outputs)

    def integers(self, what: str, numbers: Sequence[int] | int) -> Value:
        """Returns a constant of whole numbers for the next node, such as a shape."""
        name = self._graph.name(address_of(self._node), what)
        return self._graph.hold(name, torch.tensor(numbers, dtype=torch.int64))

    def floats(self, what: str, tensor: Tensor) -> Value:
        """Returns a constant tensor for the next node, in the network's own type."""
        return self._graph.floats(self._graph.name(address_of(self._node), what), tensor)

    def number(self, number: float) -> Value:
        """Returns a constant number, in the network's own type."""
        return self._graph.scalar(number)

    def scales(self, numbers: Sequence[float]) -> Value:
        """Returns factors of a resizing, which ONNX wants in single precision."""
        name = self._graph.name(address_of(self._node), "scales")
        return self._graph.hold(name, torch.tensor(numbers, dtype=torch.float32))

    def reshape(self, value: Value, shape: Shape) -> Value:
        """Adds a reshaping to sides that are all known."""
        return self.add("Reshape", [value, self.integers("shape", shape)])

    def is_own_type(self, name: str) -> bool:
        """Tells whether a type that is asked for is the network's own, so nothing is cast."""
        return self._graph.is_own_type(self._given.get(name))

    def refuse(self, rule: str, got: str, do: str) -> ExportError:
        """Returns the error that this call cannot be written."""
        return ExportError(
            Problem(where=f"{address_of(self._node)} ({self.operator})", rule=rule, got=got, do=do)
        )


Converter = Callable[[Call], Value | tuple[Value, ...]]
"""Writes one call as ONNX nodes and returns what it makes."""


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Returns a call's arguments by name, those that it leaves out at their defaults."""
    target: Any = node.target
    declared = target._schema.arguments  # noqa: SLF001 - no public accessor
    found = {each.name: each.default_value for each in declared}
    found.update(zip((each.name for each in declared), node.args, strict=False))
    return {**found, **node.kwargs}
