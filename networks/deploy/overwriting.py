"""Lets elementwise operators write over what nobody reads any more, as PyTorch can."""

from __future__ import annotations

from typing import Any

from torch import fx

from networks.deploy.building import Rebuilding, aten, shape_of
from networks.deploy.number_types import NumberTypes

_OVERWRITING: dict[Any, Any] = {
    aten.relu.default: aten.relu_.default,
    aten.sigmoid.default: aten.sigmoid_.default,
    aten.add.Tensor: aten.add_.Tensor,
    aten.mul.Tensor: aten.mul_.Tensor,
}
"""By operator, the one that writes what it makes over the first tensor that it reads."""
_MAKING_NEW: dict[Any, Any] = {after: before for before, after in _OVERWRITING.items()}
_FRESH = frozenset(
    {
        aten.convolution.default,
        aten.upsample_nearest2d.default,
        aten.avg_pool2d.default,
        aten.mean.dim,
        aten.cat.default,
        aten.index_select.default,
        *_OVERWRITING,
    }
)
"""Operators that make a tensor of their own.

What others make may lie in the memory of what they read, as slices and views do: who writes over
one writes over both.
"""
_IS_TURNED = "is_turned"
"""Key of a node's ``meta``: whether its operands changed places, which some runtimes care about."""


def overwrite(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which activations, sums and products go where an operand was.

    No memory is asked for, and what is written is in the cache already. It is done where the
    operand has the result's shape and type, is no input or constant, and is read here for the last
    time. A step that moves what is read must not come after this one (``make_new``).

    Args:
        module: A graph; it is left as it is.
    """
    rebuilding = Rebuilding(module)
    build = rebuilding.copied()
    places = {node: place for place, node in enumerate(module.graph.nodes)}
    types = NumberTypes(module)
    for node in places:
        over = _last_read(node, places) if node.target in _OVERWRITING else None
        if over is None or types.of(over) != types.of(node):
            continue
        made = rebuilding[node]
        made.target = _OVERWRITING[node.target]
        if over is not node.args[0]:
            made.args = made.args[::-1]
            made.meta[_IS_TURNED] = True
    return build.module()


def make_new(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which every operator makes a tensor of its own again.

    Args:
        module: What ``overwrite`` wrote, or any graph that writes over nothing.
    """
    build = Rebuilding(module).copied()
    for node in build.graph.nodes:
        node.target = _MAKING_NEW.get(node.target, node.target)
        if node.meta.pop(_IS_TURNED, False):
            node.args = node.args[::-1]
    return build.module()


def _last_read(node: fx.Node, places: dict[fx.Node, int]) -> fx.Node | None:
    """Returns the operand over which a node may write."""
    scales = node.kwargs.get("alpha", 1) != 1
    # What is scaled stands second, and is not what is written over.
    operands = node.args[:1] if scales else node.args
    if len({*node.all_input_nodes}) < len(node.args):
        return None
    for operand in operands:
        if not isinstance(operand, fx.Node) or shape_of(operand) != shape_of(node):
            continue
        others = [user for user in operand.users if user is not node]
        is_read_before = all(places[user] < places[node] for user in others)
        if is_read_before and all(each.target in _FRESH for each in (operand, *others)):
            return operand
    return None
