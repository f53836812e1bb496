"""Walks an ONNX graph node by node: what is a constant, and which shape everything has.

Nothing of the network is computed. What depends on constants and shapes alone (the target of a
reshape, the bounds of a slice) is, since shapes follow from it; onnx's own inference over whole
graphs, also with its propagation of data, stops at the arithmetic that exporters write there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import infer_node_outputs

from analysis.onnx_operators import CONTROL_FLOW, SHAPE_READERS
from blocks import Shape

_MOST_ELEMENTS = 4096
"""Constants with more elements are weights: no shape depends on their values."""

_RANDOM = frozenset({"RandomNormal", "RandomUniform", "Bernoulli", "Multinomial"})
_LONGEST = 300
_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
)


@dataclass(frozen=True, kw_only=True)
class Value:
    """What is known of one value of the graph.

    Attributes:
        type: Its type, as far as it is known.
        is_constant: Whether it depends on no input's values.
        data: Its elements, where it is a small constant.
        held_as: The constant of the file from which it comes with all its elements, "" if none.
    """

    type: TypeProto
    is_constant: bool = False
    data: NDArray[Any] | None = None
    held_as: str = ""

    @property
    def shape(self) -> Shape | None:
        """Its shape; None if a part of it is not known."""
        tensor = self.type.tensor_type
        if not self.type.HasField("tensor_type") or not tensor.HasField("shape"):
            return None
        if not all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in tensor.shape.dim):
            return None
        return tuple(dim.dim_value for dim in tensor.shape.dim)

    @property
    def is_float(self) -> bool:
        """Whether its elements are floating-point numbers."""
        return self.type.tensor_type.elem_type in _FLOATS


@dataclass(frozen=True, kw_only=True)
class Step:
    """One node with what it reads and puts out.

    Attributes:
        node: The node.
        name: A name that no other node has.
        ins: What it reads, by position; None where an optional input is left out.
        outs: What it puts out, by position, those that are left out not among them.
        trouble: Why its shapes could not be told, "" if they could.
    """

    node: NodeProto
    name: str
    ins: tuple[Value | None, ...]
    outs: tuple[Value, ...]
    trouble: str = ""

    @property
    def operator(self) -> str:
        """Its operator, with the domain where that is not ONNX's own."""
        domain = _domain(self.node)
        return f"{domain}::{self.node.op_type}" if domain else self.node.op_type

    @property
    def is_known(self) -> bool:
        """Whether the shapes of all that it reads and puts out are known."""
        return all(value is None or value.shape is not None for value in (*self.ins, *self.outs))

    @property
    def is_constant(self) -> bool:
        """Whether it depends on no input's values, so that it need not run for every image."""
        return all(value.is_constant for value in self.outs)


def walk(
    model: ModelProto, inputs: Mapping[str, TypeProto], symbols: Mapping[str, int], folder: Path
) -> Iterator[Step]:
    """Goes through a graph's nodes in order.

    Args:
        model: The model; shapes that it states itself are used where none can be derived.
        inputs: The types of what the graph takes.
        symbols: What names of open sides stand for.
        folder: Where its external data would lie.
    """
    graph = model.graph
    known = {name: Value(type=each) for name, each in inputs.items()}
    known |= {each.name: _held(each, folder) for each in graph.initializer}
    for sparse in graph.sparse_initializer:
        given = helper.make_tensor_type_proto(sparse.values.data_type, list(sparse.dims))
        known[sparse.values.name] = Value(type=given, is_constant=True, held_as=sparse.values.name)
    stated = {
        each.name: _without_symbols(each.type, symbols)
        for each in (*graph.value_info, *graph.output)
    }
    opsets = {each.domain: each.version for each in model.opset_import}
    names: set[str] = set()
    for index, node in enumerate(graph.node):
        name = node.name or next(filter(None, node.output), node.op_type)
        name = name if name not in names else f"{name}#{index}"
        names.add(name)
        step = _step(node, name, known, stated, opsets)
        put_out = [each for each in node.output if each]
        known |= dict(zip(put_out, step.outs, strict=True))
        yield step


def _step(
    node: NodeProto,
    name: str,
    known: Mapping[str, Value],
    stated: Mapping[str, TypeProto],
    opsets: Mapping[str, int],
) -> Step:
    ins = tuple(known.get(each) for each in node.input)
    lost = [each for each, value in zip(node.input, ins, strict=True) if each and value is None]
    put_out = [each for each in node.output if each]
    unknown = {each: stated.get(each, TypeProto()) for each in put_out}
    types, trouble = unknown, ""
    if lost:
        trouble = f"it reads {lost[0]!r}, which nothing before it puts out"
    elif node.op_type not in CONTROL_FLOW:
        inferred, trouble = _inferred(node, known, opsets)
        types = {each: _merged(inferred.get(each), unknown[each]) for each in put_out}
    reads = [value for value in ins if value is not None]
    is_constant = not lost and node.op_type not in CONTROL_FLOW | _RANDOM
    is_constant &= node.op_type in SHAPE_READERS or all(value.is_constant for value in reads)
    outs = tuple(Value(type=types[each], is_constant=is_constant) for each in put_out)
    if is_constant:
        outs = _constants(node, ins, outs, opsets)
    if not trouble and not is_constant and any(out.shape is None for out in outs):
        trouble = _why(node, ins)
    return Step(node=node, name=name, ins=ins, outs=outs, trouble=trouble)


def _inferred(
    node: NodeProto, known: Mapping[str, Value], opsets: Mapping[str, int]
) -> tuple[dict[str, TypeProto], str]:
    """Returns the types that a node puts out, and why they could not be told."""
    read = {each: known[each] for each in node.input if each}
    version = opsets.get(node.domain, opsets.get(_domain(node), 0))
    if not onnx.defs.has(node.op_type, _domain(node)) or not all(
        value.type.HasField("tensor_type") for value in read.values()
    ):
        return {}, ""
    data = {
        each: numpy_helper.from_array(value.data, each)
        for each, value in read.items()
        if value.data is not None
    }
    try:
        schema = onnx.defs.get_schema(node.op_type, version, _domain(node))
        types = {each: value.type for each, value in read.items()}
        return infer_node_outputs(
            schema,
            node,
            types,
            data,
            opset_imports=[helper.make_opsetid(*each) for each in opsets.items()],
        ), ""
    except Exception as error:  # noqa: BLE001 - the C++ code raises anything
        said = " ".join(str(error).split())[:_LONGEST].removeprefix("[ShapeInferenceError] ")
        shapes = ", ".join(map(_shape_text, read.values()))
        return {}, f"{said or type(error).__name__}, of inputs {shapes}"


def _why(node: NodeProto, ins: tuple[Value | None, ...]) -> str:
    """Says why the shapes of what a node puts out are not known though nothing is wrong."""
    for each, value in zip(node.input, ins, strict=True):
        if value is not None and not value.is_constant and value.shape is None:
            return f"it reads {each!r}, whose shape is not known"
    if node.op_type in CONTROL_FLOW:
        return "control flow, whose result has no shape in the file"
    if not onnx.defs.has(node.op_type, _domain(node)):
        return "an operator that ONNX does not define, and no shape of its result in the file"
    for each, value in zip(node.input, ins, strict=True):
        if value is not None and value.is_constant and value.data is None:
            return f"the shape depends on the values of {each!r}, which are not known"
    return "the shape depends on what the network computes"


def _constants(
    node: NodeProto,
    ins: tuple[Value | None, ...],
    outs: tuple[Value, ...],
    opsets: Mapping[str, int],
) -> tuple[Value, ...]:
    """Fills in the elements of small constants, and where a larger one comes from."""
    held = [value for value in ins if value is not None and value.held_as]
    if node.op_type == "Constant":
        return tuple(
            replace(out, data=_constant_data(node), held_as=name)
            for out, name in zip(outs, filter(None, node.output), strict=True)
        )
    if len(outs) == 1 and len(held) == 1 and _num_elements(held[0]) == _num_elements(outs[0]):
        # Transposed, cast or dequantised, it is the same weight.
        outs = (replace(outs[0], held_as=held[0].held_as),)
    return tuple(
        replace(out, data=data)
        for out, data in zip(outs, _computed(node, ins, outs, opsets), strict=True)
    )


def _computed(
    node: NodeProto,
    ins: tuple[Value | None, ...],
    outs: tuple[Value, ...],
    opsets: Mapping[str, int],
) -> list[NDArray[Any] | None]:
    none: list[NDArray[Any] | None] = [None] * len(outs)
    if node.op_type in SHAPE_READERS:
        shape = ins[0].shape if ins and ins[0] else None
        return none if shape is None else [_shape_data(node, shape)]
    data = {
        each: value.data for each, value in zip(node.input, ins, strict=True) if value is not None
    }
    sizes = [_num_elements(out) for out in outs]
    if any(each is None for each in data.values()):
        return none
    if any(size is None or size > _MOST_ELEMENTS for size in sizes):
        return none
    names = [each for each in node.output if each]
    graph = helper.make_graph(
        [node],
        "constant",
        [helper.make_value_info(each, TypeProto()) for each in data],
        [helper.make_value_info(each, TypeProto()) for each in names],
    )
    opset_imports = [helper.make_opsetid(*each) for each in opsets.items()]
    try:
        model = helper.make_model(graph, opset_imports=opset_imports)
        computed = ReferenceEvaluator(model).run(names, data)
    except Exception:  # noqa: BLE001 - whatever it raises, the value is not known then
        return none
    return [np.asarray(each) for each in computed]


def _shape_data(node: NodeProto, shape: Shape) -> NDArray[Any]:
    if node.op_type == "Size":
        return np.asarray(math.prod(shape), dtype=np.int64)
    given = {each.name: each.i for each in node.attribute}
    return np.asarray(shape[given.get("start", 0) : given.get("end", len(shape))], dtype=np.int64)


def _constant_data(node: NodeProto) -> NDArray[Any] | None:
    attribute = node.attribute[0] if node.attribute else None
    if attribute is None or attribute.name.startswith(("value_string", "sparse")):
        return None
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return _data(value, Path())
    return np.asarray(value, dtype=np.float32 if "float" in attribute.name else np.int64)


def _held(tensor: TensorProto, folder: Path) -> Value:
    given = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
    return Value(type=given, is_constant=True, data=_data(tensor, folder), held_as=tensor.name)


def _data(tensor: TensorProto, folder: Path) -> NDArray[Any] | None:
    """Returns the elements of a small tensor, None if they are many or not at hand."""
    if math.prod(tensor.dims) > _MOST_ELEMENTS or tensor.data_type == TensorProto.STRING:
        return None
    try:
        if uses_external_data(tensor):
            copied = TensorProto()
            copied.CopyFrom(tensor)
            load_external_data_for_tensor(copied, str(folder))
            return numpy_helper.to_array(copied)
        return numpy_helper.to_array(tensor)
    except Exception:  # noqa: BLE001 - a file that is missing or too short: the value is not known
        return None


def _num_elements(value: Value) -> int | None:
    return None if value.shape is None else math.prod(value.shape)


def _merged(inferred: TypeProto | None, stated: TypeProto) -> TypeProto:
    """Returns what inference says, or what the file says where inference leaves something open."""
    if inferred is None or (Value(type=inferred).shape is None and Value(type=stated).shape):
        return stated
    return inferred


def _without_symbols(given: TypeProto, symbols: Mapping[str, int]) -> TypeProto:
    """Puts numbers in the place of names of sides."""
    filled = TypeProto()
    filled.CopyFrom(given)
    for dim in filled.tensor_type.shape.dim if filled.HasField("tensor_type") else ():
        if dim.dim_param in symbols:
            dim.dim_value = symbols[dim.dim_param]
    return filled


def _domain(node: NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def _shape_text(value: Value) -> str:
    return "?" if value.shape is None else "x".join(map(str, value.shape)) or "a number"
