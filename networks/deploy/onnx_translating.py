"""Translates a captured graph into an ONNX model, and has it checked."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from importlib.metadata import version

import onnx
import torch
from onnx import checker, helper, shape_inference
from torch import fx
from torch.utils._pytree import tree_leaves

from blocks import Problem, Shape
from networks.deploy.building import address_of, constants_of, shape_of
from networks.deploy.onnx_calls import Call, ExportError, OnnxGraph, Value
from networks.deploy.onnx_names import INPUT_NAME, IR_VERSION, OPSET, OUTPUT_NAME
from networks.deploy.onnx_operators import CONVERTERS

_MOST_DIMENSIONS = 4
_TYPES = {torch.float32: onnx.TensorProto.FLOAT, torch.float64: onnx.TensorProto.DOUBLE}


def translate(module: fx.GraphModule, name: str, properties: Mapping[str, str]) -> onnx.ModelProto:
    """Returns a captured graph as an ONNX model.

    Args:
        module: The graph; it is left as it is.
        name: What the model is called.
        properties: The model's ``metadata_props``.

    Raises:
        ExportError: With every operator that cannot be written.
    """
    floats = (each.dtype for each in constants_of(module).values() if each.is_floating_point())
    dtype = next(floats, torch.float32)
    if dtype not in _TYPES:
        raise ExportError(
            Problem(
                where=name,
                rule="networks are exported in float32 or float64",
                got=str(dtype).removeprefix("torch."),
                do="convert it with module.float()",
            )
        )
    graph = OnnxGraph(module, dtype)
    _write_calls(graph, module)
    outputs = _name_outputs(graph, module)
    image = {INPUT_NAME: shape_of(next(iter(module.graph.nodes)))}
    inner = _inner_shapes(graph, module)

    def described(shapes: Mapping[Value, Shape]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(value, _TYPES[dtype], shape)
            for value, shape in shapes.items()
        ]

    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            inputs=described(image),
            outputs=described(outputs),
            initializer=list(graph.initializers.values()),
            value_info=described(inner),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="branchwork",
        producer_version=version("branchwork"),
    )
    helper.set_model_props(made, dict(properties))
    return _checked(made)


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with all shapes; what ONNX infers must be what the module made."""
    whole = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    checker.check_model(whole, full_check=True)
    return whole


def _write_calls(graph: OnnxGraph, module: fx.GraphModule) -> None:
    problems: list[Problem] = []
    for node in module.graph.nodes:
        if node.op == "placeholder":
            graph[node] = INPUT_NAME
        if node.op != "call_function":
            continue
        try:
            graph[node] = _write_call(graph, node)
        except ExportError as error:
            # The rest is written all the same, to find everything that is wrong.
            problems.extend(error.problems)
            graph[node] = ""
    if problems:
        raise ExportError(list(dict.fromkeys(problems)))


def _write_call(graph: OnnxGraph, node: fx.Node) -> Value | tuple[Value, ...]:
    if node.target is operator.getitem:
        made, index = graph[node.all_input_nodes[0]], node.args[1]
        assert isinstance(index, int)
        if isinstance(made, tuple) and index < len(made):
            return made[index]
        if made:
            raise _unknown(node.all_input_nodes[0], f"result {index} of ")
        return ""
    if node.target not in CONVERTERS:
        raise _unknown(node)
    call = Call(graph, node)
    if any(len(shape) > _MOST_DIMENSIONS for shape in call.outs):
        raise call.refuse(
            "tensors have at most four dimensions, which runtimes handle fast",
            "x".join(map(str, call.out)),
            "move channels by splitting, concatenating and shuffling them",
        )
    return CONVERTERS[node.target](call)


def _unknown(node: fx.Node, result: str = "") -> ExportError:
    return ExportError(
        Problem(
            where=address_of(node) or "the network",
            rule="an exported network is made of operators with a counterpart in ONNX",
            got=f"{result}{node.target}",
            do="write it with other operators, as docs/exporting.md lists them",
        )
    )


def _name_outputs(graph: OnnxGraph, module: fx.GraphModule) -> dict[Value, Shape]:
    """Renames what the graph puts out, and returns the shapes by the new names."""
    *_, last = module.graph.nodes
    put_out = [node for node in tree_leaves(last.args) if isinstance(node, fx.Node)]
    names = [OUTPUT_NAME]
    if len(put_out) > 1:
        names = [f"{OUTPUT_NAME}_{index}" for index in range(len(put_out))]
    written = {value for node in graph.nodes for value in node.output}
    renamed: dict[Value, Value] = {}
    for node, name in zip(put_out, names, strict=True):
        value = graph[node]
        assert isinstance(value, str)
        if value not in written or value in renamed:
            # What came in, a constant, or what is put out already, is put out as a copy.
            copied = graph.name("", "Identity")
            graph.nodes.append(helper.make_node("Identity", [value], [copied], name=copied))
            value = copied
        renamed[value] = name
    for each in graph.nodes:
        for values in (each.input, each.output):
            values[:] = [renamed.get(value, value) for value in values]
    return {name: shape_of(node) for node, name in zip(put_out, names, strict=True)}


def _inner_shapes(graph: OnnxGraph, module: fx.GraphModule) -> dict[Value, Shape]:
    """Returns the shapes of what calls of the captured graph make, but for what is put out."""
    written = {value for node in graph.nodes for value in node.output}
    found: dict[Value, Shape] = {}
    for node in module.graph.nodes:
        made = graph[node] if node.op == "call_function" else ()
        if isinstance(made, str) and made in written:
            found[made] = shape_of(node)
    return found
