"""Finds what is done to the output of a convolution."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from torch import fx

from networks.deploy.building import Builder, address_of, aten
from networks.deploy.cuts import ChannelSlice, read_slice

ACTIVATIONS = frozenset({aten.relu.default, aten.sigmoid.default})
"""Activations that are done once for several convolutions, or several times for one."""


def activations_behind(node: fx.Node) -> list[fx.Node]:
    """Returns the activations behind a node, one by one, each alone in reading what comes before.

    Args:
        node: Any node.
    """
    found: list[fx.Node] = []
    while (user := only_user(node)) is not None and user.target in ACTIVATIONS:
        found.append(user)
        node = user
    return found


def with_activations(build: Builder, made: fx.Node, behind: Iterable[fx.Node]) -> fx.Node:
    """Appends activations to what a graph under construction makes; returns the last one.

    Args:
        build: The graph.
        made: What they are computed of.
        behind: Activations that were computed of something else, one by one.
    """
    for activation in behind:
        address = address_of(activation)
        made = build.call(activation.target, made, address=address)  # type: ignore[arg-type]
    return made


def disjoint_slices(node: fx.Node) -> list[tuple[ChannelSlice, fx.Node]]:
    """Returns the slices of channels that are read of a node, in order, with the nodes they are.

    Args:
        node: Any node; if anything else is read of it, or slices overlap, there are none.
    """
    parts = [(part, user) for user in node.users if (part := read_slice(user)) is not None]
    parts.sort(key=lambda each: each[0].start)
    is_disjoint = all(one.end <= other.start for (one, _), (other, _) in pairwise(parts))
    return parts if is_disjoint and len(parts) == len(node.users) else []


def only_user(node: fx.Node) -> fx.Node | None:
    """Returns the one node that reads another, None if several do or none."""
    return next(iter(node.users)) if len(node.users) == 1 else None
