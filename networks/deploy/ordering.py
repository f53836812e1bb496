"""Puts the channels of a tensor in another order by ordering the weights that make it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import fx

from networks.deploy.building import Builder, aten, is_maps, shape_of
from networks.deploy.convolutions import read_convolution

CHANNELWISE = frozenset(
    {
        aten.relu.default,
        aten.sigmoid.default,
        aten.hardtanh.default,
        aten.gelu.default,
        aten.silu.default,
        aten.hardswish.default,
        aten.hardsigmoid.default,
        aten.avg_pool2d.default,
        aten.upsample_nearest2d.default,
        aten.upsample_bilinear2d.default,
    }
)
"""Operators of one tensor that compute each channel from itself alone."""

_JOINS = frozenset({aten.add.Tensor, aten.mul.Tensor})


def reorder(
    build: Builder, node: fx.Node, order: Sequence[int], fixed: fx.Node
) -> frozenset[fx.Node]:
    """Makes a node put out its channels in another order, if only weights have to be ordered.

    Args:
        build: The graph under construction.
        node: A node that nobody has read yet.
        order: For each place, the channel that is to stand there.
        fixed: A node that has to stay as it is.

    Returns:
        All nodes that put out their channels in that order now; none if it cannot be done.
    """
    if node.users or not _can(build, node, fixed):
        return frozenset()
    return frozenset(_apply(build, node, order))


def _can(build: Builder, node: fx.Node, fixed: fx.Node) -> bool:
    if node is fixed:
        return False
    if node.target in CHANNELWISE:
        return _can_below(build, node.args[0], fixed)
    if node.target in _JOINS:
        first, second = node.args
        return first is not second and all(
            isinstance(each, fx.Node)
            and is_maps(each)
            and shape_of(each)[1] == shape_of(node)[1]
            and _can_below(build, each, fixed)
            for each in node.args
        )
    conv = read_convolution(build, node)
    if conv is None:
        return False
    return conv.is_dense or (conv.is_depthwise and _can_below(build, conv.source, fixed))


def _can_below(build: Builder, node: object, fixed: fx.Node) -> bool:
    return isinstance(node, fx.Node) and len(node.users) == 1 and _can(build, node, fixed)


def _apply(build: Builder, node: fx.Node, order: Sequence[int]) -> list[fx.Node]:
    done = [node]
    if node.target in CHANNELWISE or node.target in _JOINS:
        for each in node.all_input_nodes:
            done += _apply(build, each, order)
        return done
    conv = read_convolution(build, node)
    assert conv is not None
    index = torch.tensor(order)
    ordered = replace(conv, weight=conv.weight[index], bias=conv.bias[index])
    with build.graph.inserting_before(node):
        made = ordered.write(build)
    node.args = made.args
    build.graph.erase_node(made)
    return done if conv.is_dense else done + _apply(build, conv.source, order)
