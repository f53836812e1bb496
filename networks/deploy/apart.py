"""Keeps branches apart that were put together to be worked on at once.

Some runtimes keep channels in memory in blocks, and can neither concatenate nor split tensors so:
for that, and for factors of whole channels, they reorder all that was computed, twice. To them, a
few more small convolutions cost less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import fx

from networks.deploy.building import Builder, Rebuilding, address_of, arguments_of, aten, shape_of
from networks.deploy.convolutions import Convolution, read_convolution
from networks.deploy.cuts import channelwise_inputs, find_cuts, read_slice

_GRAIN = 4
"""Parts of channels that runtimes keep in blocks are multiples of this."""


def keep_apart(module: fx.GraphModule, block: int) -> fx.GraphModule:
    """Writes a graph anew with few concatenations and slices of channels.

    A slice of a convolution is a convolution with some rows of its weight; a convolution of a
    concatenation is a sum of convolutions with some columns each; and what works on each channel
    alone works on parts. A factor for whole channels becomes maps of the size of what it is
    multiplied with.

    Args:
        module: A graph; it is left as it is.
        block: How many channels stand side by side; concatenations of whole blocks stay.
    """
    return _Parts(module, block).run()


@dataclass(frozen=True)
class _Part:
    """Neighbouring channels of a new tensor.

    Attributes:
        source: The tensor.
        start: The first one.
        end: The one behind the last.
    """

    source: fx.Node
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def within(self, start: int, end: int) -> _Part:
        """Returns the channels that are also in a range of the part's own."""
        return replace(self, start=self.start + max(start, 0), end=self.start + min(end, len(self)))


class _Parts:
    """A graph under construction, and of which parts the old tensors are put together in it."""

    def __init__(self, module: fx.GraphModule, block: int) -> None:
        self._rebuilding = Rebuilding(module)
        self._cuts = find_cuts(module.graph.nodes, block, _GRAIN)
        self._parts: dict[fx.Node, list[_Part]] = {}
        self._joined: dict[tuple[_Part, ...], fx.Node] = {}
        self._spread: dict[tuple[fx.Node, tuple[int, ...]], fx.Node] = {}

    def run(self) -> fx.GraphModule:
        """Writes the whole graph."""
        targets = {node.target for node in self._cuts}
        return self._rebuilding.run(dict.fromkeys(targets, self._write), self._whole)

    @property
    def _build(self) -> Builder:
        return self._rebuilding.build

    def _write(self, _: Rebuilding, node: fx.Node) -> fx.Node | None:
        parts = self._written(node)
        if parts is None:
            return None
        self._parts[node] = parts
        # Nobody reads this; what reads the channels finds them in the parts.
        return parts[0].source

    def _written(self, node: fx.Node) -> list[_Part] | None:
        if node not in self._cuts:
            return None
        if node.target is aten.cat.default and arguments_of(node)[1:] == (1,):
            return [part for each in arguments_of(node)[0] for part in self._of(each)]
        part = read_slice(node)
        if part is not None:
            return self._within(*part)
        ranges = self._ranges(node)
        if node.target is aten.convolution.default:
            return self._convolved(node, ranges)
        sources = channelwise_inputs(node)
        if not sources:
            return None
        return [_whole(self._mapped(node, sources, *each)) for each in ranges]

    def _mapped(self, node: fx.Node, sources: Sequence[fx.Node], start: int, end: int) -> fx.Node:
        """Writes some channels of what works on each channel alone."""
        reads = {source: self._channels(source, start, end) for source in sources}
        if node.target is aten.mul.Tensor:
            sides = shape_of(node)[2:]
            reads = {old: self._as_large(new, sides, node) for old, new in reads.items()}
        made = self._rebuilding.copy(node, reads)
        made.meta["shape"] = (shape_of(node)[0], end - start, *shape_of(node)[2:])
        return made

    def _as_large(self, node: fx.Node, sides: tuple[int, ...], user: fx.Node) -> fx.Node:
        """Returns what has one number for each channel as maps."""
        if shape_of(node)[2:] != (1, 1) or sides == (1, 1):
            return node
        if (node, sides) not in self._spread:
            self._spread[node, sides] = self._build.call(
                aten.upsample_nearest2d.default, node, list(sides), address=address_of(user)
            )
        return self._spread[node, sides]

    def _convolved(self, node: fx.Node, ranges: list[tuple[int, int]]) -> list[_Part] | None:
        copied = self._rebuilding.copy(node, {node.all_input_nodes[0]: self._any(node)})
        conv = read_convolution(self._build, copied)
        # Nobody may seem to read what it reads.
        self._build.graph.erase_node(copied)
        if conv is None or not (conv.is_dense or conv.is_depthwise):
            return None
        source = node.all_input_nodes[0]
        if conv.is_depthwise:
            return [
                _whole(
                    _filtering(conv, self._channels(source, start, end), start, end).write(
                        self._build
                    )
                )
                for start, end in ranges
            ]
        return [_whole(self._summed(conv.with_rows(range(*each)), source)) for each in ranges]

    def _any(self, node: fx.Node) -> fx.Node:
        """Returns any new node, to read a convolution that has not found its source yet."""
        return self._of(node.all_input_nodes[0])[0].source

    def _summed(self, conv: Convolution, source: fx.Node) -> fx.Node:
        """Writes a dense convolution of an old tensor as a sum over its parts."""
        total: fx.Node | None = None
        for start, end in self._ranges(source):
            made = replace(
                conv,
                source=self._channels(source, start, end),
                weight=conv.weight[:, start:end],
                bias=conv.bias if total is None else conv.bias.new_zeros(conv.num_outs),
            ).write(self._build)
            if total is not None:
                made = self._build.call(aten.add.Tensor, total, made, address=conv.address)
            total = made
        assert total is not None
        return total

    def _ranges(self, node: fx.Node) -> list[tuple[int, int]]:
        return list(pairwise([0, *self._cuts.get(node, ()), shape_of(node)[1]]))

    def _of(self, old: fx.Node) -> list[_Part]:
        return self._parts.get(old) or [_whole(self._rebuilding[old])]

    def _within(self, old: fx.Node, start: int, end: int) -> list[_Part]:
        found, at = [], 0
        for part in self._of(old):
            if start < at + len(part) and at < end:
                found.append(part.within(start - at, end - at))
            at += len(part)
        return found

    def _channels(self, old: fx.Node, start: int, end: int) -> fx.Node:
        """Returns a new node with some neighbouring channels of an old one."""
        parts = tuple(self._within(old, start, end))
        if parts not in self._joined:
            made = [self._sliced(part, address_of(old)) for part in parts]
            self._joined[parts] = (
                made[0]
                if len(made) == 1
                else self._build.call(aten.cat.default, made, 1, address=address_of(old))
            )
        return self._joined[parts]

    def _sliced(self, part: _Part, address: str) -> fx.Node:
        if len(part) == shape_of(part.source)[1]:
            return part.source
        return self._build.call(
            aten.slice.Tensor, part.source, 1, part.start, part.end, address=address
        )

    def _whole(self, old: fx.Node) -> fx.Node:
        if old not in self._parts:
            return self._rebuilding[old]
        return self._channels(old, 0, shape_of(old)[1])


def _whole(node: fx.Node) -> _Part:
    return _Part(node, 0, shape_of(node)[1])


def _filtering(conv: Convolution, source: fx.Node, start: int, end: int) -> Convolution:
    """Returns the depthwise convolution of some channels."""
    rows = slice(start, end)
    return replace(
        conv,
        source=source,
        weight=conv.weight[rows],
        bias=conv.bias[rows],
        groups=end - start,
    )
