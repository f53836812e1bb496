"""Computes apart what is taken apart into two."""

from __future__ import annotations

from torch import fx

from networks.deploy.building import Rebuilding, shape_of
from networks.deploy.convolutions import read_pointwise
from networks.deploy.following import activations_behind, disjoint_slices, with_activations

_POINT = (1, 1)


def part_pairs(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which pointwise convolutions of which two slices are read are two.

    Where channels of a place lie side by side, a slice is a copy. Two convolutions are as many
    operators as one and its copies, which are made in one go, and write the slices where they
    belong. With more slices operators are saved by the copies, and as much time; vectors are
    sliced where they are.

    Args:
        module: A graph; it is left as it is.
    """
    build = Rebuilding(module).copied()
    for node in list(build.graph.nodes):
        conv = read_pointwise(build, node)
        if conv is None:
            continue
        behind = activations_behind(node)
        slices = disjoint_slices([node, *behind][-1])
        if len(slices) != 2 or shape_of(node)[2:] == _POINT:  # noqa: PLR2004 - a pair
            continue
        with build.graph.inserting_before(node):
            for part, user in slices:
                made = conv.with_rows(range(part.start, part.end)).write(build)
                user.replace_all_uses_with(with_activations(build, made, behind))
    return build.module()
