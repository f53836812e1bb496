"""Puts sums in order: coarse resolutions first, then maps, then what convolutions make."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import NamedTuple

from torch import fx

from networks.deploy.building import Rebuilding, address_of, aten, is_maps, shape_of


class Term(NamedTuple):
    """Something that is added up, times a constant factor."""

    node: fx.Node
    factor: float


def nest_sums(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which sums over several upsampled tensors are nested.

    Nearest upsampling by 4 is upsampling by 2 twice, and upsampling is linear, so
    x + up2(a) + up4(b) + up8(c) = x + up2(a + up2(b + up2(c))): only one tensor is made and added
    at the finest resolution. In every sum of more than two terms, convolutions come last: runtimes
    let each of them add what is there already. Nothing changes but the order of the additions.

    Args:
        module: A graph; it is left as it is.
    """
    return Rebuilding(module).run({aten.add.Tensor: _nest})


def _nest(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
    if not is_maps(node) or not _is_sum(node) or _is_inside(node):
        return None
    terms = _terms(node)
    ups = [term for term in terms if _is_up(term, node)]
    if len(ups) < 2:  # noqa: PLR2004 - one has nothing to be nested in
        ups = []
    ups.sort(key=lambda term: shape_of(_below(term))[-1])
    sides = [shape_of(_below(term))[-1] for term in ups]
    if any(after % before for before, after in pairwise(sides)):
        return None
    writer = _Writer(rebuilding, address_of(node))
    total: fx.Node | None = None
    for _, same in groupby(ups, key=lambda term: shape_of(_below(term))[2:]):
        for term in same:
            below = rebuilding[_below(term)]
            total = below if total is None else writer.add(total, below)
    rest = [term for term in terms if term not in ups]
    rest.sort(key=lambda term: (term.node.target is aten.convolution.default, term.factor != 1))
    if total is None:
        if rest == terms or rest[0].factor != 1:
            return None
        total = rebuilding[rest.pop(0).node]
    for term in rest:
        total = writer.add(total, rebuilding[term.node], term.factor)
    return total


def _is_sum(node: fx.Node) -> bool:
    """Tells whether a node adds two tensors of one shape."""
    return node.target is aten.add.Tensor and all(
        isinstance(each, fx.Node) and shape_of(each) == shape_of(node) for each in node.args
    )


def _is_inside(node: fx.Node) -> bool:
    """Tells whether a sum is a term of another one and is read by nobody else."""
    return _is_sum(node) and len(node.users) == 1 and _is_sum(next(iter(node.users)))


def _terms(node: fx.Node) -> list[Term]:
    first, second = node.args
    factor = node.kwargs.get("alpha", 1)
    assert isinstance(factor, int | float)
    terms = []
    for each, times in ((first, 1.0), (second, float(factor))):
        assert isinstance(each, fx.Node)
        if _is_inside(each) and times == 1:
            terms += _terms(each)
        else:
            terms.append(Term(each, times))
    return terms


def _is_up(term: Term, node: fx.Node) -> bool:
    up = term.node
    plain = up.target is aten.upsample_nearest2d.default and len(up.users) == 1
    if not plain or term.factor != 1 or shape_of(up) != shape_of(node):
        return False
    below, above = shape_of(_below(term)), shape_of(up)
    ratios = {fine / coarse for fine, coarse in zip(above[2:], below[2:], strict=True)}
    # Scales that do not fit the sizes pick other pixels.
    ratios |= {scale for scale in up.args[2:] if isinstance(scale, int | float)}
    return len(ratios) == 1 and float(ratios.pop()).is_integer()


def _below(term: Term) -> fx.Node:
    source = term.node.args[0]
    assert isinstance(source, fx.Node)
    return source


class _Writer:
    def __init__(self, rebuilding: Rebuilding, address: str) -> None:
        self._build = rebuilding.build
        self._address = address

    def add(self, node: fx.Node, other: fx.Node, factor: float = 1) -> fx.Node:
        """Adds another tensor, and upsamples the coarser one first."""
        node, other = self._raise(node, other), self._raise(other, node)
        named = {} if factor == 1 else {"alpha": factor}
        return self._build.call(aten.add.Tensor, node, other, address=self._address, named=named)

    def _raise(self, node: fx.Node, like: fx.Node) -> fx.Node:
        height, width = shape_of(like)[2:]
        if shape_of(node)[2] >= height:
            return node
        ratio = height / shape_of(node)[2]
        return self._build.call(
            aten.upsample_nearest2d.default,
            node,
            [height, width],
            ratio,
            ratio,
            address=self._address,
        )
