"""Writes constant factors in sums as convolutions."""

from __future__ import annotations

from torch import fx

from networks.deploy.building import Rebuilding, address_of, arguments_of, aten, is_maps, shape_of
from networks.deploy.convolutions import tiling

_POINT = (1, 1)


def factors_to_convolutions(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which the terms of sums have no factors.

    Where a term is itself a product of maps and a gate, the gate gets the factor, and else the
    term. A runtime that keeps channels in blocks can convolve and add them, not multiply them
    with a number.

    Args:
        module: A graph; it is left as it is.
    """
    return Rebuilding(module).run({aten.add.Tensor: _add})


def _add(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
    factor = node.kwargs.get("alpha", 1)
    first, second = arguments_of(node)
    if factor == 1 or not isinstance(factor, int | float):
        return None
    if not isinstance(second, fx.Node) or not is_maps(second):
        return None
    gate = _gate(second)
    if gate is None:
        scaled = _scaled(rebuilding, rebuilding[second], factor, address_of(node))
    else:
        scaled = rebuilding.copy(
            second, {gate: _scaled(rebuilding, rebuilding[gate], factor, address_of(node))}
        )
    return rebuilding.build.call(
        aten.add.Tensor, rebuilding[first], scaled, address=address_of(node)
    )


def _gate(node: fx.Node) -> fx.Node | None:
    """Returns which factor of a product has one number for each channel, if one has."""
    if node.target is not aten.mul.Tensor or len(node.users) > 1:
        return None
    maps = [each for each in node.args if isinstance(each, fx.Node) and is_maps(each)]
    gates = [each for each in maps if shape_of(each)[2:] == _POINT]
    return gates[0] if len(maps) > len(gates) == 1 else None


def _scaled(rebuilding: Rebuilding, node: fx.Node, factor: float, address: str) -> fx.Node:
    weight = rebuilding.any_constant.new_full((shape_of(node)[1], 1, *_POINT), factor)
    return tiling(node, weight, what="factor", address=address).write(rebuilding.build)
