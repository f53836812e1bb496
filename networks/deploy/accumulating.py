"""Tells which maps a convolution writes over what is added to it, as OpenVINO does on CPUs."""

from __future__ import annotations

from torch import fx

from networks.deploy.building import aten, is_maps

_AT_ONCE = frozenset({aten.mul.Tensor, aten.add.Tensor})
"""What is computed in one pass with what reads it, where no convolution takes it."""


def is_accumulated(maps: fx.Node) -> bool:
    """Tells whether maps are a sum that a runtime makes in the memory of one of its terms.

    The other term is a convolution that nobody else reads; and whoever reads the first one has
    done so by then, since the sum needs it. The sum's activation is computed with it.

    Args:
        maps: Any node that makes maps.
    """
    total = maps.args[0] if maps.target is aten.relu.default else maps
    if not isinstance(total, fx.Node) or total.target is not aten.add.Tensor:
        return False
    if total is not maps and len(total.users) > 1:
        return False
    terms = [each for each in total.args if isinstance(each, fx.Node) and is_maps(each)]
    return len(terms) == len(total.args) and any(
        _is_single(conv) and _is_read_before(term, total)
        for conv, term in (terms, terms[::-1])
        if conv is not term
    )


def _is_single(node: fx.Node) -> bool:
    return node.target is aten.convolution.default and len(node.users) == 1


def _is_read_before(term: fx.Node, total: fx.Node) -> bool:
    """Tells whether everybody else who reads a term comes before the sum in any order."""
    needed = _needed(total) | {total}
    together, waiting = {term}, [term]
    while waiting:
        node = waiting.pop()
        if node.target not in _AT_ONCE or any(map(_is_single, node.all_input_nodes)):
            continue
        for source in node.all_input_nodes:
            if source.target in _AT_ONCE and source not in together:
                together.add(source)
                waiting.append(source)
    return all(user in needed for node in together for user in node.users)


def _needed(node: fx.Node) -> set[fx.Node]:
    """Returns everything that a node is computed from."""
    found: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found
