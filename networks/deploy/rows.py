"""Multiplies maps with upsampled ones that are never made: rows with the row they belong to."""

from __future__ import annotations

from typing import NamedTuple

from torch import fx

from networks.deploy.accumulating import is_accumulated
from networks.deploy.building import (
    Builder,
    Rebuilding,
    address_of,
    arguments_of,
    aten,
    is_maps,
    shape_of,
)
from networks.deploy.convolutions import Convolution, read_pointwise
from networks.deploy.following import (
    activations_behind,
    disjoint_slices,
    only_user,
    with_activations,
)

_POINT = (1, 1)
_MOST_REPEATS = 8
"""Of a row or column; each repeats rows of a matrix, and PyTorch's repeats are equal so far."""
_CHANNELS_LAST = [0, 2, 3, 1]
_CHANNELS_FIRST = [0, 3, 1, 2]


class _Product(NamedTuple):
    """Maps times upsampled weights, times a channel gate or not.

    Attributes:
        node: What makes it.
        maps: The maps.
        replaced: What is not made any more: upsampled weights and products.
        gate: One number for each channel, or None.
        rows: Rows of the maps that have the same weights.
        columns: Columns that have.
    """

    node: fx.Node
    maps: fx.Node
    replaced: tuple[fx.Node, ...]
    gate: fx.Node | None
    rows: int
    columns: int


class _Weights(NamedTuple):
    """Channels of a convolution's output, and what they are for.

    Attributes:
        start: The first channel.
        end: The one behind the last.
        node: What has these channels alone.
        product: Where maps are multiplied with them once they are upsampled, or None.
    """

    start: int
    end: int
    node: fx.Node
    product: _Product | None

    @property
    def channels(self) -> list[int]:
        """The channels, as often as a column of them is needed."""
        repeats = 1 if self.product is None else self.product.columns
        return [*range(self.start, self.end)] * repeats


def multiply_rows(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which maps are weighted without upsampling the weights.

    In y * up(w), as of conditional channel weighting, neighbouring rows of y have the same row of
    weights. So the convolution that makes w makes every column as often as it is needed, as
    channels of their own (rows of a small matrix), and rows of y that belong together are
    multiplied at once with one row. For that y is seen with its channels behind its columns: a
    runtime that keeps them so in memory moves nothing, unless y is accumulated in the memory of
    another tensor, where OpenVINO copies it.

    Args:
        module: A graph; it is left as it is.
    """
    build = Rebuilding(module).copied()
    for node in list(build.graph.nodes):
        conv = read_pointwise(build, node)
        if conv is None:
            continue
        behind = activations_behind(node)
        weights = _read([node, *behind][-1])
        if any(each.product is not None for each in weights) and _are_apart(weights):
            _write(build, conv, node, behind, weights)
            # Nothing that comes later is to be found read by what nobody needs any more.
            build.graph.eliminate_dead_code()
    return build.module()


def _are_apart(weights: list[_Weights]) -> bool:
    """Tells whether no product is of what another one makes."""
    products = [each.product for each in weights if each.product is not None]
    replaced = {node for each in products for node in each.replaced}
    return not any(each.maps in replaced for each in products)


def _read(node: fx.Node) -> list[_Weights]:
    """Returns the channels of a node that are read together; none where others may be read too."""
    if (product := _product(node)) is not None:
        return [_Weights(0, shape_of(node)[1], node, product)]
    return [
        _Weights(part.start, part.end, user, _product(user)) for part, user in disjoint_slices(node)
    ]


def _product(weights: fx.Node) -> _Product | None:
    """Returns the product of maps and these weights, if it is all that they are upsampled for."""
    upsampled = only_user(weights)
    if upsampled is None or upsampled.target is not aten.upsample_nearest2d.default:
        return None
    node, factors = only_user(upsampled), _factors(upsampled)
    if node is None or node.target is not aten.mul.Tensor or factors is None:
        return None
    maps = _other(node, upsampled)
    if maps is None or not shape_of(maps) == shape_of(upsampled) == shape_of(node):
        return None
    if is_accumulated(maps):
        return None
    return _gated(_Product(node, maps, (upsampled, node), None, *factors))


def _factors(upsampled: fx.Node) -> tuple[int, int] | None:
    """Returns how often rows and columns are repeated, if each is equally often, and not too often.

    What has a single place is a gate, which need not be repeated.
    """
    source, _, *scales = arguments_of(upsampled)
    sides = list(zip(shape_of(upsampled)[2:], shape_of(source)[2:], strict=True))
    rows, columns = (large // small for large, small in sides)
    if any(large % small for large, small in sides) or max(rows, columns) > _MOST_REPEATS:
        return None
    if shape_of(source)[2:] == _POINT:
        return None
    if any(
        scale not in (None, factor) for scale, factor in zip(scales, (rows, columns), strict=False)
    ):
        return None
    return rows, columns


def _gated(product: _Product) -> _Product | None:
    """Adds the gate with which the product is multiplied, if there is one."""
    outer = only_user(product.node)
    if outer is None or outer.target is not aten.mul.Tensor:
        return product
    gate = _other(outer, product.node)
    if gate is None or not is_maps(gate) or shape_of(gate)[2:] != _POINT:
        return product
    if shape_of(gate) != (1, shape_of(product.node)[1], *_POINT):
        # Rows of all images stand in one dimension, so no image can have a gate of its own; and
        # multiplied later, the maps would be read and written once more.
        return None
    return product._replace(node=outer, gate=gate, replaced=(*product.replaced, outer))


def _other(product: fx.Node, factor: fx.Node) -> fx.Node | None:
    """Returns the other factor of a product."""
    others = [each for each in product.args if each is not factor]
    return others[0] if len(others) == 1 and isinstance(others[0], fx.Node) else None


def _write(
    build: Builder,
    conv: Convolution,
    node: fx.Node,
    behind: list[fx.Node],
    weights: list[_Weights],
) -> None:
    """Repeats rows of a convolution, and multiplies maps with what it makes of them."""
    with build.graph.inserting_before(node):
        repeated = conv.with_rows([index for each in weights for index in each.channels])
        made = with_activations(build, repeated.write(build), behind)
        start = 0
        for each in weights:
            end = start + len(each.channels)
            part = made
            if len(weights) > 1:
                address = address_of(each.node)
                part = build.call(aten.slice.Tensor, made, 1, start, end, address=address)
            start = end
            if each.product is None:
                each.node.replace_all_uses_with(part)
            else:
                _multiply(build, part, each.product)


def _multiply(build: Builder, weights: fx.Node, product: _Product) -> None:
    """Writes a product with weights that have channels for every column of a place."""
    images, channels, height, width = shape_of(product.node)
    count, address = images * height // product.rows, address_of(product.node)

    def seen(maps: fx.Node, shape: list[int]) -> fx.Node:
        turned = build.call(aten.permute.default, maps, _CHANNELS_LAST, address=address)
        return build.call(aten.reshape.default, turned, shape, address=address)

    with build.graph.inserting_before(product.node):
        made = build.call(
            aten.mul.Tensor,
            seen(product.maps, [count, product.rows, width, channels]),
            seen(weights, [count, 1, width, channels]),
            address=address,
        )
        if product.gate is not None:
            gate = seen(product.gate, [1, 1, 1, channels])
            made = build.call(aten.mul.Tensor, made, gate, address=address)
        shape = [images, height, width, channels]
        made = build.call(aten.reshape.default, made, shape, address=address)
        made = build.call(aten.permute.default, made, _CHANNELS_FIRST, address=address)
        product.node.replace_all_uses_with(made)
