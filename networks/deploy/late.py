"""Multiplies with channel gates as late as can be, at once with what follows."""

from __future__ import annotations

from torch import fx

from networks.deploy.building import Builder, Rebuilding, address_of, aten, is_maps, shape_of
from networks.deploy.cuts import read_slice

_POINT = (1, 1)


def gate_late(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which weights of maps are gated together with the maps.

    y * up(w * s) = (y * up(w)) * s, where s has one number for each channel: a runtime that
    multiplies three tensors in one pass need not make w * s. In PyTorch, which makes every
    product, w * s is the smaller one.

    Args:
        module: A graph; it is left as it is.
    """
    build = Rebuilding(module).copied()
    for node in list(build.graph.nodes):
        gated = _gated(node)
        if gated is not None and node.users and _only_scales(node):
            _push(build, node, *gated)
    return build.module()


def _gated(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """Returns the maps and the gate of which a node is the product, if it is one."""
    if node.target is not aten.mul.Tensor or not is_maps(node):
        return None
    for maps, gate in (node.args, node.args[::-1]):
        if not isinstance(maps, fx.Node) or not isinstance(gate, fx.Node) or not is_maps(gate):
            return None
        if shape_of(maps) == shape_of(node) != shape_of(gate) and shape_of(gate)[2:] == _POINT:
            return maps, gate
    return None


def _only_scales(node: fx.Node) -> bool:
    """Tells whether nothing is read of a node but slices, upsampled or not, by which maps scale."""
    for user in node.users:
        if user.target is aten.mul.Tensor:
            maps = [each for each in user.args if each is not node]
            if len(maps) != 1 or not isinstance(maps[0], fx.Node):
                return False
            if not shape_of(node) == shape_of(user) == shape_of(maps[0]):
                return False
        elif not _passes(user) or not _only_scales(user):
            return False
    return True


def _passes(node: fx.Node) -> bool:
    return node.target is aten.upsample_nearest2d.default or read_slice(node) is not None


def _push(build: Builder, node: fx.Node, maps: fx.Node, gate: fx.Node) -> None:
    """Lets whoever reads gated maps read the maps, and multiplies with the gate behind."""
    for user in list(node.users):
        with build.graph.inserting_before(user):
            address, rest = address_of(user), user.args[1:]
            if user.target is aten.mul.Tensor:
                scaled = next(each for each in user.args if each is not node)
                product = build.call(aten.mul.Tensor, scaled, maps, address=address)
                made = build.call(aten.mul.Tensor, product, gate, address=address)
                user.replace_all_uses_with(made)
                continue
            passed = build.call(user.target, maps, *rest, address=address)  # type: ignore[arg-type]
            factor = gate
            if read_slice(user) is not None:
                factor = build.call(aten.slice.Tensor, gate, *rest, address=address)
        _push(build, user, passed, factor)
