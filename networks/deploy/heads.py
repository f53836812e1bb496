"""Writes the last pointwise convolution as a product that puts channels first."""

from __future__ import annotations

from torch import fx

from networks.deploy.accumulating import is_accumulated
from networks.deploy.building import Builder, Rebuilding, aten, shape_of
from networks.deploy.convolutions import Convolution, read_pointwise

_CHANNELS_LAST = [0, 2, 3, 1]
_MOST_INS = 128
"""Channels that come in; with 240 little is gained, with 512 OpenVINO's products are slower."""


def heads_to_products(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which pointwise convolutions that are its outputs are products.

    A network puts out one map after the other. A runtime that keeps the channels of a place side
    by side reorders what its last convolution makes; the product of the weights with the
    transposed maps is in that order already. For maps that are accumulated in the memory of
    another tensor, it would copy them first.

    Args:
        module: A graph; it is left as it is.
    """
    build = Rebuilding(module).copied()
    for node in list(build.graph.nodes):
        conv = read_pointwise(build, node)
        if conv is None or conv.weight.shape[1] > _MOST_INS or is_accumulated(conv.source):
            continue
        if node.users and all(user.op == "output" for user in node.users):
            with build.graph.inserting_before(node):
                node.replace_all_uses_with(_multiply(build, conv, shape_of(node)))
    return build.module()


def _multiply(build: Builder, conv: Convolution, shape: tuple[int, ...]) -> fx.Node:
    images, num_outs, height, width = shape
    address, num_ins = conv.address, conv.weight.shape[1]
    maps = build.call(aten.permute.default, conv.source, _CHANNELS_LAST, address=address)
    places = [images, height * width, num_ins]
    maps = build.call(aten.reshape.default, maps, places, address=address)
    maps = build.call(aten.transpose.int, maps, 1, 2, address=address)
    weight = build.constant(conv.name, conv.weight.reshape(1, num_outs, num_ins))
    bias = build.constant(
        f"{conv.name.removesuffix('weight')}bias", conv.bias.reshape(1, num_outs, 1)
    )
    made = build.call(aten.matmul.default, weight, maps, address=address)
    made = build.call(aten.add.Tensor, made, bias, address=address)
    return build.call(aten.reshape.default, made, list(shape), address=address)
