"""Writes picks of channels as convolutions with weights of 0 and 1."""

from __future__ import annotations

import torch
from torch import fx

from networks.deploy.building import Rebuilding, address_of, arguments_of, aten, is_maps, shape_of
from networks.deploy.convolutions import Convolution
from networks.deploy.number_types import NumberTypes


def picks_to_convolutions(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which channels are picked, in any order, by pointwise convolutions.

    A runtime that keeps the channels of a place side by side has fast convolutions, to which it
    adds what is added to the picked channels; but it picks channels of whole maps, for which it
    reorders all numbers twice. Each output is one number times 1, and sums of zeros: the same.

    Args:
        module: A graph; it is left as it is.
    """
    types = NumberTypes(module)

    def convolve(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
        dtype = types.of(node)
        return _convolve(rebuilding, node) if dtype and dtype.is_floating_point else None

    return Rebuilding(module).run({aten.index_select.default: convolve})


def _convolve(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
    source, side, index = arguments_of(node)
    order = rebuilding.value(index)
    if order is None or side != 1 or not is_maps(source):
        return None
    places, num_ins, address = order.tolist(), shape_of(source)[1], address_of(node)
    weight = rebuilding.any_constant.new_zeros(len(places), num_ins, 1, 1)
    weight[torch.arange(len(places)), order] = 1
    return Convolution(
        source=rebuilding[source],
        name=f"{address}.pick.weight" if address else "pick.weight",
        weight=weight,
        bias=weight.new_zeros(len(places)),
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        transposed=False,
        output_padding=(0, 0),
        groups=1,
        address=address,
    ).write(rebuilding.build)
