"""Picks channels by convolutions with weights of 0 and 1, and the other way round."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from networks.deploy.building import Rebuilding, address_of, arguments_of, aten, is_maps, shape_of
from networks.deploy.convolutions import Convolution, read_convolution
from networks.deploy.number_types import NumberTypes


def picks_to_convolutions(module: fx.GraphModule, most_ins: int) -> fx.GraphModule:
    """Writes a graph anew in which channels are picked, in any order, by pointwise convolutions.

    A runtime that keeps the channels of a place side by side has fast convolutions, but picks
    channels of whole maps, for which it reorders all numbers twice. Each output is one number
    times 1 and sums of zeros: the same. With many channels the zeros take longer than reordering.

    Args:
        module: A graph; it is left as it is.
        most_ins: Channels among which others are picked, at most.
    """
    types = NumberTypes(module)

    def convolve(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
        source, side, index = arguments_of(node)
        order, dtype = rebuilding.value(index), types.of(node)
        if order is None or dtype is None or not dtype.is_floating_point:
            return None
        if side != 1 or not is_maps(source) or shape_of(source)[1] > most_ins:
            return None
        return _pick(rebuilding, node, order).write(rebuilding.build)

    return Rebuilding(module).run({aten.index_select.default: convolve})


def _pick(rebuilding: Rebuilding, node: fx.Node, order: Tensor) -> Convolution:
    source, address = arguments_of(node)[0], address_of(node)
    weight = rebuilding.any_constant.new_zeros(len(order), shape_of(source)[1], 1, 1)
    weight[torch.arange(len(order)), order] = 1
    return Convolution(
        source=rebuilding[source],
        name=f"{address}.pick.weight" if address else "pick.weight",
        weight=weight,
        bias=weight.new_zeros(len(order)),
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        transposed=False,
        output_padding=(0, 0),
        groups=1,
        address=address,
    )


def convolutions_to_picks(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which convolutions that only pick channels do just that.

    Args:
        module: A graph; it is left as it is.
    """
    build = Rebuilding(module).copied()
    for node in list(build.graph.nodes):
        conv = read_convolution(build, node)
        if conv is None or not conv.is_dense or not conv.is_pointwise or conv.bias.any():
            continue
        rows = conv.weight[:, :, 0, 0]
        if ((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all():
            with build.graph.inserting_before(node):
                index = build.constant(f"{conv.name.removesuffix('weight')}index", rows.argmax(1))
                picked = build.call(
                    aten.index_select.default, conv.source, 1, index, address=conv.address
                )
                node.replace_all_uses_with(picked)
    return build.module()
