"""Makes one channel gate of several, and lets it work on what was pooled instead of on all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from networks.deploy.building import (
    Builder,
    Rebuilding,
    address_of,
    aten,
    shape_of,
)
from networks.deploy.convolutions import Convolution, read_pointwise
from networks.deploy.pools import is_tiling
from networks.deploy.sorting import sort_nodes

_LARGEST_WEIGHT = 150_000
"""Numbers in the weight of a merged gate, most of them zeros; more is not read faster than less."""
_POINT = (1, 1)


@dataclass(frozen=True, eq=False)
class Gate:
    """A channel gate: mean, 1x1 convolution, ReLU, 1x1 convolution, sigmoid (squeeze-and-excite).

    Attributes:
        mean: The means over all positions.
        narrow: The first convolution.
        widen: The second one.
        sigmoid: What it puts out (N, C, 1, 1).
    """

    mean: fx.Node
    narrow: Convolution
    widen: Convolution
    sigmoid: fx.Node

    @property
    def source(self) -> fx.Node:
        """The maps that the means are of."""
        source = self.mean.args[0]
        assert isinstance(source, fx.Node)
        return source


def merge_gates(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew with one gate where several branches have one each side by side.

    The merged convolutions have the gates' weights on their diagonal and zeros elsewhere.

    A gated tensor y * s that is only pooled, and multiplied with upsampled weights w, is never
    made: pool(y * s) = pool(y) * s, the mean of y is that of pool(y), and
    (y * s) * up(w) = y * up(w * s), all of them small.

    Args:
        module: A graph; it is left as it is.
    """
    build = Rebuilding(module).copied()
    for group in _groups(build):
        _merge(build, group)
    sort_nodes(build.graph)
    return build.module()


def _groups(build: Builder) -> list[list[Gate]]:
    """Returns the gates in groups of which none depends on another of the same group."""
    groups: list[list[Gate]] = []
    after: set[fx.Node] = set()
    for node in build.graph.nodes:
        if not after.isdisjoint(node.all_input_nodes):
            after.add(node)
        gate = _read(build, node)
        if gate is None:
            continue
        is_free = bool(groups) and gate.mean not in after
        if is_free and _weight_size([*groups[-1], gate]) <= _LARGEST_WEIGHT:
            groups[-1].append(gate)
        else:
            groups.append([gate])
            after = set()
        after.add(gate.sigmoid)
    return groups


def _weight_size(gates: Sequence[Gate]) -> int:
    ins = sum(gate.widen.num_outs for gate in gates)
    return ins * sum(gate.narrow.num_outs for gate in gates)


def _read(build: Builder, node: fx.Node) -> Gate | None:
    if node.target is not aten.sigmoid.default:
        return None
    widen = _point_conv(build, node.args[0])
    if widen is None or widen.source.target is not aten.relu.default:
        return None
    narrow = _point_conv(build, widen.source.args[0])
    if narrow is None or len(widen.source.users) > 1:
        return None
    mean = narrow.source
    if mean.target is not aten.mean.dim or len(mean.users) > 1 or shape_of(mean)[2:] != _POINT:
        return None
    source = mean.args[0]
    if not isinstance(source, fx.Node) or shape_of(source)[:2] != shape_of(mean)[:2]:
        return None
    return Gate(mean, narrow, widen, node)


def _point_conv(build: Builder, node: object) -> Convolution | None:
    if not isinstance(node, fx.Node) or len(node.users) > 1 or shape_of(node)[2:] != _POINT:
        return None
    return read_pointwise(build, node)


def _merge(build: Builder, gates: list[Gate]) -> None:
    pooled = _Pooled.find(gates)
    if pooled is None and len(gates) == 1:
        return
    first = gates[0]
    address = address_of(first.sigmoid)
    # Anywhere: the nodes are sorted at the end.
    with build.graph.inserting_before(first.mean):
        if pooled is not None:
            joined = build.call(aten.cat.default, pooled.parts(build), 1, address=address)
            mean = build.call(aten.mean.dim, joined, *first.mean.args[1:], address=address)
        else:
            mean = build.call(aten.cat.default, [gate.mean for gate in gates], 1, address=address)
        narrow = replace(_diagonal([gate.narrow for gate in gates]), source=mean).write(build)
        hidden = build.call(aten.relu.default, narrow, address=address)
        widen = replace(_diagonal([gate.widen for gate in gates]), source=hidden).write(build)
        opened = build.call(aten.sigmoid.default, widen, address=address)
        start = 0
        for gate in gates:
            count = gate.widen.num_outs
            part = build.call(aten.slice.Tensor, opened, 1, start, start + count, address=address)
            gate.sigmoid.replace_all_uses_with(part)
            start += count
        if pooled is not None:
            pooled.replace(build, joined, opened, address)


def _diagonal(convs: Sequence[Convolution]) -> Convolution:
    if len(convs) == 1:
        return convs[0]
    blocks = [conv.weight[:, :, 0, 0] for conv in convs]
    weight: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call] # as PyTorch's
    bias = torch.cat([conv.bias for conv in convs])
    return replace(convs[0], weight=weight[:, :, None, None], bias=bias)


@dataclass(frozen=True, eq=False)
class _Pooled:
    """Gated tensors that are read only through what is pooled of them, and under weights.

    Attributes:
        gates: The gates.
        join: The concatenation of what is pooled of every gated tensor, or of the tensor itself.
        pools: For each gate, the pooling; None where the tensor is as coarse as all others become.
        weighings: For each gate, the products of the gated tensor with weights.
        products: The gated tensors.
    """

    gates: list[Gate]
    join: fx.Node
    pools: list[fx.Node | None]
    weighings: list[list[fx.Node]]
    products: list[fx.Node]

    @classmethod
    def find(cls, gates: list[Gate]) -> _Pooled | None:
        """Returns how gated tensors are read, if no other way."""
        joins, pools, weighings = [], [], []
        for gate in gates:
            products = [user for user in gate.sigmoid.users if user.target is aten.mul.Tensor]
            if len(gate.sigmoid.users) != 1 or len(products) != 1:
                return None
            product = products[0]
            is_gated = {*product.args} == {gate.source, gate.sigmoid}
            pooling = [user for user in product.users if is_tiling(user)]
            joining = [user for user in product.users if user.target is aten.cat.default]
            rest = [user for user in product.users if user not in pooling + joining]
            is_pooled = len(pooling) + len(joining) == 1 and all(
                len(each.users) == 1 for each in pooling
            )
            if not is_gated or not is_pooled or not all(map(_is_weighing, rest)):
                return None
            joins += joining or list(pooling[0].users)
            pools.append(pooling[0] if pooling else None)
            weighings.append(rest)
        gated = list(map(_product, gates))
        parts = [pool or product for pool, product in zip(pools, gated, strict=True)]
        # A product of two gated tensors has no weights.
        is_mixed = any({*gated} >= {*each.all_input_nodes} for rest in weighings for each in rest)
        is_joined = {(each.target, str(each.args)) for each in joins} == {
            (aten.cat.default, str((parts, 1)))
        }
        if is_mixed or not is_joined or len({*joins}) > 1:
            return None
        return cls(gates, joins[0], pools, weighings, gated)

    def parts(self, build: Builder) -> list[fx.Node]:
        """Returns the tensors without their gates, pooled to one resolution."""
        return [
            gate.source
            if pool is None
            else build.call(pool.target, gate.source, *pool.args[1:], address=address_of(pool))  # type: ignore[arg-type]
            for gate, pool in zip(self.gates, self.pools, strict=True)
        ]

    def replace(self, build: Builder, joined: fx.Node, opened: fx.Node, address: str) -> None:
        """Gates what was pooled, and the weights, in place of the tensors."""
        gated = build.call(aten.mul.Tensor, joined, opened, address=address)
        self.join.replace_all_uses_with(gated)
        start = 0
        for gate, gated_before, products in zip(
            self.gates, self.products, self.weighings, strict=True
        ):
            count = gate.widen.num_outs
            part = build.call(aten.slice.Tensor, opened, 1, start, start + count, address=address)
            start += count
            for product in products:
                self._weigh(build, gate, product, gated_before, part)

    @staticmethod
    def _weigh(
        build: Builder, gate: Gate, product: fx.Node, gated_before: fx.Node, part: fx.Node
    ) -> None:
        weights = next(each for each in product.args if each is not gated_before)
        assert isinstance(weights, fx.Node)
        with build.graph.inserting_before(product):
            low = weights
            if weights.target is aten.upsample_nearest2d.default:
                assert isinstance(weights.args[0], fx.Node)
                low = weights.args[0]
            gated = build.call(aten.mul.Tensor, low, part, address=address_of(product))
            if low is not weights:
                gated = build.call(
                    aten.upsample_nearest2d.default,
                    gated,
                    *weights.args[1:],
                    address=address_of(weights),
                )
            product.args = (gate.source, gated)


def _product(gate: Gate) -> fx.Node:
    return next(iter(gate.sigmoid.users))


def _is_weighing(node: fx.Node) -> bool:
    """Tells whether a node is a product of two tensors."""
    if node.target is not aten.mul.Tensor:
        return False
    first, second = node.args
    return isinstance(first, fx.Node) and isinstance(second, fx.Node) and first is not second
