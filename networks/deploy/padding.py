"""Pads what stands between two convolutions to whole blocks of channels."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import fx

from networks.deploy.building import Builder, Rebuilding, aten
from networks.deploy.convolutions import Convolution, read_convolution


def pad_hidden(module: fx.GraphModule, block: int) -> fx.GraphModule:
    """Writes a graph anew in which hidden channels are multiples of a number.

    What a dense convolution makes for other dense ones alone, with or without a ReLU between them,
    gets channels of zeros that weights of zero read. Runtimes that keep channels in blocks add
    them anyway, and take them away again where they cannot know that nobody minds.

    Args:
        module: A graph; it is left as it is.
        block: The number.
    """
    build = Rebuilding(module).copied()
    for node in list(build.graph.nodes):
        conv = read_convolution(build, node)
        if conv is not None and conv.is_dense and conv.num_outs % block:
            _pad(build, node, conv, -conv.num_outs % block)
    return build.module()


def _pad(build: Builder, node: fx.Node, conv: Convolution, count: int) -> None:
    users = list(node.users)
    activations = [user for user in users if user.target is aten.relu.default]
    readers = users
    if len(users) == len(activations) == 1:
        readers = list(users[0].users)
    reading = [read_convolution(build, reader) for reader in readers]
    if not readers or any(each is None or not each.is_dense for each in reading):
        return
    padded = replace(
        conv,
        weight=F.pad(conv.weight, (0, 0, 0, 0, 0, 0, 0, count)),
        bias=F.pad(conv.bias, (0, count)),
    )
    _rewrite(build, node, padded)
    for user in activations:
        images, channels, *sides = user.meta["shape"]
        user.meta["shape"] = (images, channels + count, *sides)
    for reader, each in zip(readers, reading, strict=True):
        assert each is not None
        _rewrite(build, reader, replace(each, weight=F.pad(each.weight, (0, 0, 0, 0, 0, count))))


def _rewrite(build: Builder, node: fx.Node, conv: Convolution) -> None:
    with build.graph.inserting_before(node):
        made = conv.write(build)
    node.args = made.args
    node.meta = made.meta
    build.graph.erase_node(made)
