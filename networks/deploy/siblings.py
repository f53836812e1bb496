"""Makes one convolution of several that read the same tensor."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import fx

from networks.deploy.building import Builder, Rebuilding, address_of, aten, shape_of
from networks.deploy.convolutions import Convolution, read_pointwise
from networks.deploy.following import ACTIVATIONS, only_user
from networks.deploy.sorting import sort_nodes


def merge_siblings(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which pointwise convolutions of one tensor are one convolution.

    Their rows stand below each other, and everybody reads a slice; where all have the same
    activation behind them, so has the one. Input and output are the same numbers, read and
    computed in fewer calls.

    Args:
        module: A graph; it is left as it is.
    """
    build = Rebuilding(module).copied()
    families: dict[fx.Node, list[fx.Node]] = {}
    for node in build.graph.nodes:
        conv = read_pointwise(build, node)
        if conv is not None:
            families.setdefault(conv.source, []).append(node)
    for family in families.values():
        if len(family) > 1:
            _merge(build, family)
    sort_nodes(build.graph)
    return build.module()


def _merge(build: Builder, family: list[fx.Node]) -> None:
    convs = [read_pointwise(build, node) for node in family]
    read = [conv for conv in convs if conv is not None]
    with build.graph.inserting_before(family[0]):
        made = _stacked(read).write(build)
        behind = [_only_activation(node) for node in family]
        targets = {None if each is None else each.target for each in behind}
        replaced = family
        if len(targets) == 1 and None not in targets:
            made = build.call(targets.pop(), made, address=address_of(made))  # type: ignore[arg-type]
            replaced = [each for each in behind if each is not None]
        start = 0
        for old in replaced:
            count = shape_of(old)[1]
            part = build.call(
                aten.slice.Tensor, made, 1, start, start + count, address=address_of(old)
            )
            old.replace_all_uses_with(part)
            start += count


def _stacked(convs: list[Convolution]) -> Convolution:
    return replace(
        convs[0],
        weight=torch.cat([conv.weight for conv in convs]),
        bias=torch.cat([conv.bias for conv in convs]),
    )


def _only_activation(node: fx.Node) -> fx.Node | None:
    """Returns the activation that alone reads a node, if there is one."""
    user = only_user(node)
    return user if user is not None and user.target in ACTIVATIONS else None
