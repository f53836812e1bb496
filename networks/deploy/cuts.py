"""Finds where the channels of tensors are cut: what is put together, or taken apart, and where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import fx

from networks.deploy.building import NUM_SIDES, arguments_of, aten, is_maps, shape_of
from networks.deploy.ordering import CHANNELWISE

_JOINS = frozenset({aten.add.Tensor, aten.mul.Tensor})


def find_cuts(nodes: Iterable[fx.Node], block: int, grain: int) -> dict[fx.Node, list[int]]:
    """Returns for every tensor of maps the channels at which it is cut, in order.

    A slice cuts what it is taken from, a concatenation what it makes; and what works on each
    channel alone cuts what it makes where its inputs are cut, and the other way round.

    Args:
        nodes: The nodes of a graph, in order.
        block: A concatenation of whole blocks of so many channels cuts nothing.
        grain: Tensors that would be cut into parts that are no multiples of it are not cut.
    """
    cuts = _Cuts(list(nodes), block)
    return {
        node: sorted(found) if all(cut % grain == 0 for cut in (*found, shape_of(node)[1])) else []
        for node, found in cuts.found.items()
    }


class _Cuts:
    """The cuts of a graph's tensors, passed on until nothing changes."""

    def __init__(self, nodes: list[fx.Node], block: int) -> None:
        self.found: dict[fx.Node, set[int]] = {
            node: set() for node in nodes if "shape" in node.meta and is_maps(node)
        }
        self._block = block
        count = -1
        while count != (count := sum(map(len, self.found.values()))):
            for node in (*nodes, *reversed(nodes)):
                if node in self.found:
                    self._pass_on(node)

    def _pass_on(self, node: fx.Node) -> None:
        if node.target is aten.cat.default and arguments_of(node)[1:] == (1,):
            self._pass_on_joined(node)
        elif (part := read_slice(node)) is not None:
            self._share(node, part.source, part.start)
            self._cut(part.source, part[1:])
        else:
            for source in channelwise_inputs(node):
                self._share(node, source, 0)

    def _pass_on_joined(self, node: fx.Node) -> None:
        parts = arguments_of(node)[0]
        ends = [0]
        for part in parts:
            self._share(part, node, ends[-1])
            ends.append(ends[-1] + shape_of(part)[1])
        if any(end % self._block for end in ends):
            self._cut(node, ends)

    def _share(self, part: fx.Node, whole: fx.Node, start: int) -> None:
        """Cuts a part where the whole is cut, and the other way round."""
        if part in self.found and whole in self.found:
            self._cut(part, (cut - start for cut in self.found[whole]))
            self._cut(whole, [cut + start for cut in self.found[part]])

    def _cut(self, node: fx.Node, at: Iterable[int]) -> None:
        count = shape_of(node)[1]
        self.found[node].update(cut for cut in at if 0 < cut < count)


class ChannelSlice(NamedTuple):
    """What a slice of neighbouring channels is.

    Attributes:
        source: The maps that it is taken from.
        start: Its first channel.
        end: The one behind its last.
    """

    source: fx.Node
    start: int
    end: int


def read_slice(node: fx.Node) -> ChannelSlice | None:
    """Returns a node as a slice of neighbouring channels, if it is one.

    Args:
        node: Any node.
    """
    if node.target is not aten.slice.Tensor or not is_maps(node) or node.kwargs:
        return None
    arguments = arguments_of(node)
    usual: tuple[Any, ...] = (0, None, None, 1)
    dimension, start, end, step = (*arguments[1:], *usual[len(arguments) - 1 :])
    if dimension % NUM_SIDES != 1 or step != 1:
        return None
    source: fx.Node = arguments[0]
    first, behind, _ = slice(start, end).indices(shape_of(source)[1])
    return ChannelSlice(source, first, behind)


def channelwise_inputs(node: fx.Node) -> list[fx.Node]:
    """Returns the maps of which a node computes each channel from the same channel alone.

    Args:
        node: Any node that makes maps; for others that mix channels there are none.
    """
    arguments: tuple[Any, ...] = arguments_of(node)
    if node.target in _JOINS:
        sources = [each for each in arguments if isinstance(each, fx.Node)]
    elif node.target in CHANNELWISE or _is_mean(node) or _is_depthwise(node):
        sources = [arguments[0]]
    else:
        return []
    fits = all(is_maps(each) and shape_of(each)[:2] == shape_of(node)[:2] for each in sources)
    return sources if fits else []


def _is_mean(node: fx.Node) -> bool:
    if node.target is not aten.mean.dim:
        return False
    source, sides, *_ = arguments_of(node)
    return is_maps(source) and {side % len(shape_of(source)) for side in sides} == {2, 3}


def _is_depthwise(node: fx.Node) -> bool:
    if node.target is not aten.convolution.default:
        return False
    source, weight, bias, *_, transposed, _, groups = arguments_of(node)
    constant = all(each is None or each.op == "get_attr" for each in (weight, bias))
    return constant and not transposed and groups == shape_of(source)[1] == shape_of(weight)[0]
