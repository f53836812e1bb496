"""Picks channels by convolutions with weights of 0 and 1, and the other way round."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from networks.deploy.building import Rebuilding, address_of, arguments_of, aten, is_maps, shape_of
from networks.deploy.convolutions import Convolution, read_convolution
from networks.deploy.number_types import NumberTypes

_IS_PICK = "is_pick"
"""Key of a node's ``meta``: whether it is a convolution that only picks channels."""


def picks_to_convolutions(module: fx.GraphModule, most_ins: int) -> fx.GraphModule:
    """Writes a graph anew in which channels are picked, in any order, by pointwise convolutions.

    A runtime that keeps the channels of a place side by side has fast convolutions, but picks
    channels of whole maps, for which it reorders all numbers twice. Each output is one number
    times 1 and sums of zeros: the same, if all channels of a place are finite. With many channels
    the zeros take longer than reordering.

    Args:
        module: A graph; it is left as it is.
        most_ins: Channels among which others are picked, at most.
    """
    picks = [node for node in module.graph.nodes if _may_convolve(node, most_ins)]
    if not picks:
        return module
    types = NumberTypes(module)

    def convolve(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
        order, dtype = rebuilding.value(node.args[2]), types.of(node)
        if node not in picks or order is None or dtype is None or not dtype.is_floating_point:
            return None
        made = _pick(rebuilding, node, order, dtype).write(rebuilding.build)
        made.meta[_IS_PICK] = True
        return made

    return Rebuilding(module).run({aten.index_select.default: convolve})


def _may_convolve(node: fx.Node, most_ins: int) -> bool:
    if node.target is not aten.index_select.default:
        return False
    source, side, _ = arguments_of(node)
    return side == 1 and is_maps(source) and shape_of(source)[1] <= most_ins


def _pick(rebuilding: Rebuilding, node: fx.Node, order: Tensor, dtype: torch.dtype) -> Convolution:
    source, address = arguments_of(node)[0], address_of(node)
    order = order.reshape(-1)
    weight = rebuilding.any_constant.new_zeros(len(order), shape_of(source)[1], 1, 1, dtype=dtype)
    weight[torch.arange(len(order)), order] = 1
    return Convolution(
        source=rebuilding[source],
        name=f"{address}.pick.weight" if address else "pick.weight",
        weight=weight,
        bias=weight.new_zeros(len(order)),
        address=address,
    )


def convolutions_to_picks(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which channels are picked as they were before.

    Args:
        module: What ``picks_to_convolutions`` wrote, or any other graph.
    """
    build = Rebuilding(module).copied()
    for node in list(build.graph.nodes):
        conv = read_convolution(build, node) if node.meta.get(_IS_PICK) else None
        if conv is None:
            continue
        with build.graph.inserting_before(node):
            name = f"{conv.name.removesuffix('weight')}index"
            index = build.constant(name, conv.weight[:, :, 0, 0].argmax(1))
            picked = build.call(
                aten.index_select.default, conv.source, 1, index, address=conv.address
            )
            node.replace_all_uses_with(picked)
    return build.module()
