"""Profiles of ONNX files: their nodes as operations, counted like everybody else's."""

from __future__ import annotations

import ast
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.any_module import (
    OUTERMOST,
    ModuleProfile,
    pad_sides,
    parts_of,
    uncounted_note,
    with_params,
)
from analysis.cost import count_operations
from analysis.onnx_operators import CONTROL_FLOW, OPERATORS, VIEWS, Call
from blocks import BranchworkError, ImageSize, Op, Problem, Recording, Shape

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from analysis.onnx_graph import Inputs
    from analysis.onnx_steps import Step, Value

_SUFFIX = ".onnx"
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's exporter notes in which modules a node stands."""


def is_onnx_file(name: str) -> bool:
    """Tells whether a network is named by an ONNX file.

    >>> is_onnx_file("net.onnx"), is_onnx_file("lite_hrnet_18")
    (True, False)
    """
    return name.lower().endswith(_SUFFIX)


def profile_onnx(path: Path, asked: ImageSize | None, default: ImageSize) -> ModuleProfile:
    """Counts the nodes of an ONNX file, as far as their operators and shapes are known.

    Its parameters are the constants that counted nodes use as weights, each once: filters,
    matrices, biases, scales and shifts of norms, and whatever floating-point tensor of more than
    one element is added or multiplied; not running statistics, and not what shapes are made of.
    An exporter that folds batch norms leaves fewer than the module has.

    Args:
        path: The file; weights that lie in other files are not needed.
        asked: The image size that the user wrote, None if none.
        default: The image size where neither the user nor the file says one.

    Raises:
        BranchworkError: If the file holds no graph, if its sizes cannot be set, or if the package
            ``onnx`` is missing.
        OSError: If the file cannot be read.
    """
    if importlib.util.find_spec("onnx") is None:
        raise BranchworkError(
            Problem(
                where=str(path),
                rule="ONNX files are read with the package onnx",
                got="an installation without it",
                do='pip install "branchwork[export]"',
            )
        )
    from analysis.onnx_graph import read_model, set_inputs

    model = read_model(path)
    inputs = set_inputs(model.graph, path, asked, default)
    counted = _count(model, inputs, path)
    if counted.trouble is not None and inputs.has_free_sides:
        padded = pad_sides(inputs.size)
        if padded != inputs.size:
            again = set_inputs(model.graph, path, padded, default)
            if _count(model, again, path).trouble is None:
                counted = replace(counted, runs_at=padded)
    return _profile(counted, inputs, str(path))


@dataclass(frozen=True, kw_only=True)
class _Weight:
    """A constant that a node uses as a weight."""

    name: str
    shape: Shape


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """What was counted of a graph.

    Attributes:
        ops: Its operations, in order.
        are_read: Whether what the graph puts out depends on each.
        params: Sizes of the weights that each of them is the first to use.
        parts: The part to which each belongs.
        uncounted: How many nodes were not counted, by kind.
        without_formula: Names of those among them of which more than a shape is missing, by kind.
        trouble: The first node whose shapes could not be told, None if all could.
        runs_at: The image size, padded, at which there is no trouble; None if that is not known.
    """

    ops: tuple[Op, ...]
    are_read: tuple[bool, ...]
    params: tuple[int, ...]
    parts: tuple[str, ...]
    uncounted: dict[str, int]
    without_formula: dict[str, list[str]]
    trouble: Step | None
    runs_at: ImageSize | None = None


def _profile(counted: _Counted, inputs: Inputs, name: str) -> ModuleProfile:
    held: dict[str, int] = dict.fromkeys(counted.parts, 0)
    for part, num_params in zip(counted.parts, counted.params, strict=True):
        held[part] += num_params
    problem = None if counted.trouble is None else _problem(counted, counted.trouble, name)
    return ModuleProfile(
        cost=with_params(count_operations(counted.ops, inputs.size), sum(counted.params)),
        parts=parts_of(counted.ops, counted.parts, held, inputs.size),
        recording=Recording(
            ops=counted.ops,
            are_read=counted.are_read,
            uncounted=counted.uncounted,
            failed_at=None if counted.trouble is None else counted.trouble.name,
            reason="" if counted.trouble is None else counted.trouble.trouble,
        ),
        problem=problem,
        notes=(
            *inputs.notes,
            *(uncounted_note(kind, nodes) for kind, nodes in counted.without_formula.items()),
        ),
    )


def _problem(counted: _Counted, trouble: Step, name: str) -> Problem:
    num_missing = sum(counted.uncounted.values())
    instead = (
        "write the shapes of what such nodes put out into the file"
        if counted.runs_at is None
        else f"pad the image to {counted.runs_at}"
    )
    return Problem(
        where=f"{name}, {trouble.name} ({trouble.operator})",
        rule="the shapes of what a node puts out follow from the file",
        got=trouble.trouble,
        do=f"{instead}; {len(counted.ops)} operations are counted, {num_missing} nodes are not",
    )


def _count(model: ModelProto, inputs: Inputs, path: Path) -> _Counted:
    from analysis.onnx_steps import walk

    taken = {each.name: each.type for each in inputs.each}
    steps = list(walk(model, taken, inputs.symbols, path.parent))
    scopes = [_scope(step.node) for step in steps]
    has_scopes = any(scopes)
    is_needed = _are_needed(steps, {each.name for each in model.graph.output})
    seen: set[str] = set()
    ops, are_read, params, parts = [], [], [], []
    uncounted: dict[str, int] = {}
    without_formula: dict[str, list[str]] = {}
    trouble = None
    for step, scope, needed in zip(steps, scopes, is_needed, strict=True):
        if trouble is None and step.trouble and not _ends(step, steps):
            trouble = step
        if step.is_constant or _only_relabels(step):
            continue
        op, weights, is_counted = _operation(step, scope, inputs.num_images)
        if not is_counted:
            uncounted[op.kind] = uncounted.get(op.kind, 0) + 1
            if step.is_known or step.operator not in OPERATORS.keys() | VIEWS:
                without_formula.setdefault(op.kind, []).append(step.name)
        if not step.is_known:
            continue
        fresh = {each.name: math.prod(each.shape) for each in weights if each.name not in seen}
        seen |= fresh.keys()
        ops.append(op)
        are_read.append(needed)
        params.append(sum(fresh.values()))
        parts.append(scope.partition(".")[0] or (OUTERMOST if has_scopes else step.name))
    return _Counted(
        ops=tuple(ops),
        are_read=tuple(are_read),
        params=tuple(params),
        parts=tuple(parts),
        uncounted=uncounted,
        without_formula=without_formula,
        trouble=trouble,
    )


def _only_relabels(step: Step) -> bool:
    return step.operator in VIEWS and all(out.shape is not None for out in step.outs)


def _ends(step: Step, steps: Sequence[Step]) -> bool:
    """Tells whether a node that is listed as not counted is the last that matters."""
    put_out = set(filter(None, step.node.output))
    is_listed = step.operator not in OPERATORS
    return is_listed and not any(put_out & set(each.node.input) for each in steps)


def _operation(step: Step, scope: str, num_images: int) -> tuple[Op, tuple[_Weight, ...], bool]:
    """Returns a node as an operation, its weights, and whether that counts all of it."""
    from onnx.helper import get_attribute_value

    operator = OPERATORS.get(step.operator)
    address = f"{scope}.{_own_name(step)}" if scope else _own_name(step)
    shapes = tuple(None if value is None else value.shape for value in step.ins)
    out = step.outs[0].shape if step.outs else None
    ins = tuple(
        _of_one(value.shape, num_images)
        for value in step.ins
        if value is not None and value.shape is not None and not value.is_constant
    )
    if operator is None or out is None or not step.is_known:
        kind = step.operator if operator is None else operator.kind
        op = Op(kind=kind, ins=ins, out=_of_one(out or (), num_images), address=address)
        return op, (), False
    weights = _weights(step)
    call = Call(
        ins=shapes,
        values=tuple(None if value is None else value.data for value in step.ins),
        out=out,
        attributes={each.name: get_attribute_value(each) for each in step.node.attribute},
        has_weights=bool(weights),
    )
    kind, module = operator.names(call)
    macs = operator.macs(call) if operator.macs else 0
    if macs is not None and macs % num_images:
        # It works on no whole images, so one image has no share of it.
        macs = None
    op = Op(
        kind=kind,
        ins=ins,
        out=_of_one(call.side(0) if operator.writes_all else out, num_images),
        weights=tuple(each.shape for each in weights),
        window=math.prod(call.attributes["kernel_shape"]) if operator.window else 0,
        address=address,
        module=module.replace("2d", f"{max(len(call.side(0)) - 2, 1)}d"),
        recorded_macs=(macs or 0) // num_images if operator.macs else None,
    )
    return op, weights, macs is not None


def _weights(step: Step) -> tuple[_Weight, ...]:
    operator = OPERATORS.get(step.operator)
    if operator is None:
        return ()
    return tuple(
        _Weight(name=value.held_as or step.node.input[index], shape=value.shape)
        for index, value in enumerate(step.ins)
        if value is not None
        and value.is_constant
        and value.shape is not None
        and (index in operator.weights or (operator.takes_any_weight and _may_be_learnt(value)))
    )


def _may_be_learnt(value: Value) -> bool:
    return value.is_float and math.prod(value.shape or ()) > 1


def _of_one(shape: Shape, num_images: int) -> Shape:
    """Returns the share of one image in a tensor of a whole batch, without the batch dimension."""
    for index, side in enumerate(shape):
        if side % num_images == 0:
            shape = (*shape[:index], side // num_images, *shape[index + 1 :])
            break
    return shape[1:] if shape and shape[0] == 1 else shape


def _are_needed(steps: Sequence[Step], outputs: set[str]) -> list[bool]:
    """Tells of each node whether what the graph puts out depends on it."""
    if any(step.node.op_type in CONTROL_FLOW for step in steps):
        # What the graphs inside read does not show from outside.
        return [True] * len(steps)
    needed = set(outputs)
    found = []
    for step in reversed(steps):
        is_needed = not needed.isdisjoint(step.node.output)
        if is_needed:
            needed |= set(step.node.input)
        found.append(is_needed)
    return found[::-1]


def _scope(node: NodeProto) -> str:
    """Returns the address of the module in which a node stands, as PyTorch's exporters say it."""
    noted = next((each.value for each in node.metadata_props if each.key == _SCOPES), "")
    if noted:
        # The outermost comes first, the node itself last.
        try:
            return str(ast.literal_eval(noted)[-2])
        except (ValueError, SyntaxError, LookupError, TypeError):
            return ""
    if not node.name.startswith("/"):
        return ""
    address = ""
    parts = node.name.split("/")[1:-1]
    for before, part in zip(["", *parts], parts, strict=False):
        # An entry of a list is written after the list: conv/conv.0.
        own = part.removeprefix(f"{before}.") if before else part
        address = f"{address}.{own}" if address else own
    return address


def _own_name(step: Step) -> str:
    return step.name.rpartition("/")[2] if step.name.startswith("/") else step.name
