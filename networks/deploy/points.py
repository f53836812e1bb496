"""Writes convolutions of a single place as products with matrices."""

from __future__ import annotations

from torch import fx

from networks.deploy.building import (
    Rebuilding,
    Rule,
    address_of,
    arguments_of,
    aten,
    shape_of,
)
from networks.deploy.convolutions import read_pointwise
from networks.deploy.cuts import read_slice

_POINT = (1, 1)
_LARGEST = 256
"""Sides of a matrix; products with larger ones are slower than convolutions in OpenVINO."""


def points_to_products(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which channel gates are computed from vectors, not from maps.

    Slices of vectors are read where they are, while slices of maps are copied. A pointwise
    convolution of maps with a single place is a product with a matrix; two small ones with an
    activation between them are computed in one pass.

    Args:
        module: A graph; it is left as it is.
    """
    writer = _Vectors()
    rules: dict[object, Rule] = {
        aten.convolution.default: writer.multiply,
        aten.relu.default: writer.copy,
        aten.sigmoid.default: writer.copy,
        aten.slice.Tensor: writer.take,
    }
    return Rebuilding(module).run(rules)


class _Vectors:
    """The maps of a single place that were computed as vectors."""

    def __init__(self) -> None:
        self._vectors: dict[fx.Node, fx.Node] = {}

    def multiply(self, rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
        """Writes a convolution as a product."""
        if shape_of(node)[2:] != _POINT:
            return None
        source, weight, *_ = arguments_of(node)
        if shape_of(source)[2:] != _POINT or rebuilding.value(weight) is None:
            return None
        copied = rebuilding.copy(node, {})
        conv = read_pointwise(rebuilding.build, copied)
        # Nobody may seem to read what it reads.
        rebuilding.build.graph.erase_node(copied)
        if conv is None:
            return None
        rows, columns = conv.weight.shape[:2]
        if max(rows, columns) > _LARGEST:
            return None
        build, address = rebuilding.build, conv.address
        made = build.call(
            aten.linear.default,
            self._vector(rebuilding, source, address),
            build.constant(conv.name, conv.weight.reshape(rows, columns)),
            build.constant(f"{conv.name.removesuffix('weight')}bias", conv.bias),
            address=address,
        )
        return self._as_maps(rebuilding, node, made)

    def copy(self, rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
        """Computes of a vector what is computed of maps of a single place."""
        (source,) = arguments_of(node)
        if source not in self._vectors:
            return None
        made = rebuilding.build.call(
            node.target,  # type: ignore[arg-type]
            self._vectors[source],
            address=address_of(node),
        )
        return self._as_maps(rebuilding, node, made)

    def take(self, rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
        """Slices a vector in place of maps of a single place."""
        part = read_slice(node)
        if part is None or shape_of(node)[2:] != _POINT:
            return None
        vector = self._vector(rebuilding, part.source, address_of(node))
        made = rebuilding.build.call(
            aten.slice.Tensor, vector, 1, part.start, part.end, address=address_of(node)
        )
        return self._as_maps(rebuilding, node, made)

    def _vector(self, rebuilding: Rebuilding, source: fx.Node, address: str) -> fx.Node:
        if source not in self._vectors:
            self._vectors[source] = rebuilding.build.call(
                aten.view.default, rebuilding[source], list(shape_of(source)[:2]), address=address
            )
        return self._vectors[source]

    def _as_maps(self, rebuilding: Rebuilding, node: fx.Node, vector: fx.Node) -> fx.Node:
        self._vectors[node] = vector
        return rebuilding.build.call(
            aten.view.default, vector, list(shape_of(node)), address=address_of(node)
        )
