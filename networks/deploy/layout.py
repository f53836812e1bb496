"""Moves channels by ordering weights: shuffles, splits and concatenations go into convolutions.

The channels of a computed tensor may stand in any order as long as whoever reads them knows it.
So a graph is written anew with a note, for every old tensor, of where each of its channels is now;
a movement of channels only changes the note, and a dense convolution reads its weights' columns
in the noted order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import fx

from networks.deploy.building import Rebuilding, address_of, arguments_of, aten, is_maps, shape_of
from networks.deploy.convolutions import Convolution, read_convolution
from networks.deploy.ordering import CHANNELWISE, reorder
from networks.deploy.widening import Sliced, Widening

Place = tuple[fx.Node, int]
"""A channel of a new tensor."""

_CHAIN = frozenset({aten.mul.Tensor, aten.convolution.default})
_CHEAP_MACS = 3_000_000
"""Multiply-accumulates with zeros that cost less than copying channels out of a tensor first."""
_CHEAP_MACS_EACH = 32
"""The same for each number that would be copied, where there are many."""
_CHEAP_CHANNELS = 3
"""How many times as many channels a filter reads as quickly as some are read, copied and read."""


def order_channels(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which as few channels are moved as can be.

    Args:
        module: A graph after ``as_channels`` and ``fold``; it is left as it is.
    """
    return Layout(module).run()


class Layout:
    """A graph under construction, and where the old channels are in it."""

    def __init__(self, module: fx.GraphModule) -> None:
        self._rebuilding = Rebuilding(module)
        self._places: dict[fx.Node, list[Place]] = {}
        # For each old tensor, the new ones that its channels are in.
        self._sources: dict[fx.Node, set[fx.Node]] = {}
        self._gathered: dict[tuple[Place, ...], fx.Node] = {}
        self._sliced: dict[fx.Node, Sliced] = {}
        self._passed: dict[Place, Place] = {}

    def run(self) -> fx.GraphModule:
        """Writes the whole graph."""
        rules: dict[object, Callable[[Rebuilding, fx.Node], fx.Node | None]] = {
            aten.cat.default: self._move,
            aten.slice.Tensor: self._move,
            aten.index_select.default: self._move,
            aten.convolution.default: self._convolve,
            aten.add.Tensor: self._join,
            aten.mul.Tensor: self._join,
            **dict.fromkeys(CHANNELWISE, self._map),
        }
        return self._rebuilding.run(rules, self._exactly)

    def _of(self, old: fx.Node) -> list[Place]:
        """Returns where the channels of an old tensor are."""
        if old not in self._places:
            made = self._rebuilding[old]
            self._place(old, [(made, channel) for channel in range(shape_of(made)[1])])
        return self._places[old]

    def _place(self, old: fx.Node, places: list[Place]) -> None:
        """Notes where the channels of an old tensor are."""
        self._places[old] = places
        self._sources[old] = {source for source, _ in places}

    def _exactly(self, old: fx.Node) -> fx.Node:
        """Returns a new node that has an old one's channels in its order."""
        if old not in self._places:
            return self._rebuilding[old]
        return self._gather(self._places[old], address_of(old))

    def _move(self, _: Rebuilding, node: fx.Node) -> fx.Node | None:
        places = self._moved(node)
        if places is None:
            return None
        self._place(node, places)
        # Nobody reads this; what reads the channels finds them by their places.
        return places[0][0]

    def _moved(self, node: fx.Node) -> list[Place] | None:
        if not is_maps(node):
            return None
        sources = [each for each in node.all_input_nodes if each.op != "get_attr"]
        if node.target is aten.cat.default:
            parts, *dimension = arguments_of(node)
            if dimension != [1]:
                return None
            return [place for part in parts for place in self._of(part)]
        if node.args[1] != 1:
            return None
        channels = range(shape_of(sources[0])[1])
        if node.target is aten.slice.Tensor:
            _, _, start, end, *step = arguments_of(node)
            picked = list(channels[slice(start, end, *step)])
        else:
            order = self._rebuilding.value(node.args[2])
            if order is None:
                return None
            # A single number picks one channel, as a list of one does.
            picked = order.reshape(-1).tolist()
        whole = self._of(sources[0])
        return self._widened([whole[channel] for channel in picked])

    def _widened(self, places: list[Place]) -> list[Place]:
        """Widens what was computed from some channels of a tensor and stands beside others of it.

        Args:
            places: What is put beside each other.

        Returns:
            Where these channels are now.
        """
        sources = {source for source, _ in places}
        places = [self._where(place, sources) for place in places]
        distinct = tuple(dict.fromkeys(source for source, _ in places))
        if len(distinct) != 2:  # noqa: PLR2004 - passed and worked on
            return places
        for whole, narrow in (distinct, distinct[::-1]):
            channels = self._slice_below(narrow, whole)
            if channels is None or len(channels) != shape_of(narrow)[1]:
                continue
            if {channel for source, channel in places if source is whole} & {*channels}:
                continue
            widening = Widening(self._rebuilding.build, self._sliced, whole, channels)
            if widening.run(narrow):
                self._rename(widening, narrow)
                return self._widened([self._renamed(place, widening) for place in places])
        return places

    def _where(self, place: Place, sources: set[fx.Node]) -> Place:
        """Returns the place in a widened tensor that a channel has as well, if it is read."""
        while place in self._passed and self._passed[place][0] in sources:
            place = self._passed[place]
        return place

    def _rename(self, widening: Widening, narrow: fx.Node) -> None:
        wide = widening.wide[narrow]
        for channel in {*range(shape_of(wide)[1])} - {*widening.channels}:
            self._passed[widening.whole, channel] = (wide, channel)
        for old, known in self._places.items():
            if not self._sources[old].isdisjoint(widening.wide):
                self._place(old, [self._renamed(place, widening) for place in known])

    def _renamed(self, place: Place, widening: Widening) -> Place:
        source, channel = place
        if source not in widening.wide:
            return place
        return widening.wide[source], widening.channels[channel]

    def _slice_below(self, node: fx.Node, whole: fx.Node) -> tuple[int, ...] | None:
        """Returns the channels of the slice of a tensor from which a node is computed."""
        below, seen = [node], set()
        while below:
            each = below.pop()
            part = self._sliced.get(each)
            if part is not None and part.source is whole:
                return part.channels
            if each not in seen and each.target in _CHAIN:
                seen.add(each)
                below += [one for one in each.all_input_nodes if one.op == "call_function"]
        return None

    def _convolve(self, rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        weight = rebuilding.value(node.args[1])
        if source not in self._places or weight is None:
            return None
        copied = rebuilding.copy(node, {})
        conv = read_convolution(rebuilding.build, copied)
        # Nobody may seem to read what it reads.
        rebuilding.build.graph.erase_node(copied)
        if conv is None:
            return None
        places = self._places[source]
        if conv.is_dense:
            return self._read_anywhere(conv, places, node).write(rebuilding.build)
        single = self._whole(source) if conv.is_depthwise else None
        if single is None:
            return self._filter_all(conv, places, node) if conv.is_depthwise else None
        places = self._places[source]
        made = _depthwise_at(conv, single, places).write(rebuilding.build)
        self._place(node, [(made, channel) for _, channel in places])
        return made

    def _filter_all(
        self, conv: Convolution, places: Sequence[Place], node: fx.Node
    ) -> fx.Node | None:
        """Writes a depthwise convolution of all channels of a tensor in place of some."""
        sources = {source for source, _ in places}
        if len(sources) > 1 or len({*places}) < len(places):
            return None
        whole = sources.pop()
        count = shape_of(whole)[1]
        if count > _CHEAP_CHANNELS * len(places):
            return None
        rows = torch.tensor([channel for _, channel in places])
        weight = conv.weight.new_zeros(count, *conv.weight.shape[1:])
        weight[rows] = conv.weight
        bias = conv.bias.new_zeros(count)
        bias[rows] = conv.bias
        made = replace(conv, source=whole, weight=weight, bias=bias, groups=count).write(
            self._rebuilding.build
        )
        self._place(node, [(made, channel) for _, channel in places])
        return made

    def _read_anywhere(
        self, conv: Convolution, places: Sequence[Place], node: fx.Node
    ) -> Convolution:
        """Returns the dense convolution that reads its channels where they are."""
        num_ins = sum(shape_of(source)[1] for source in {source for source, _ in places})
        _, _, height, width = shape_of(node)
        macs = conv.num_outs * conv.weight[0, 0].numel() * height * width
        used = len(set(places))
        copied = used * math.prod(shape_of(places[0][0])[2:])
        if (num_ins - used) * macs > max(_CHEAP_MACS, _CHEAP_MACS_EACH * copied):
            made = self._gather(places, conv.address)
            return conv.reading(made, range(len(places)), len(places))
        whole, at = self._side_by_side(places, conv.address)
        return conv.reading(whole, at, num_ins)

    def _map(self, rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
        """A function of each channel alone leaves the channels where they are."""
        source = node.args[0]
        assert isinstance(source, fx.Node)
        if source not in self._places:
            return None
        single = self._whole(source)
        if single is None:
            return None
        made = rebuilding.copy(node, {source: single})
        self._place(node, [(made, channel) for _, channel in self._places[source]])
        return made

    def _join(self, rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
        """Two tensors that are added or multiplied have their channels in one order."""
        first, second = node.args
        if not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
            return self._map(rebuilding, node)
        if first not in self._places and second not in self._places:
            return None
        if not is_maps(first) or not is_maps(second) or shape_of(first)[1] != shape_of(second)[1]:
            return None
        one, other = self._whole(first), self._whole(second)
        if one is None or other is None:
            return None
        if not self._align(one, self._of(first), other, self._of(second)) and not self._align(
            other, self._of(second), one, self._of(first)
        ):
            order = _order_like(self._of(first), self._of(second))
            other = self._gather([(other, channel) for channel in order], address_of(node))
            made = rebuilding.copy(node, {first: one, second: other})
        else:
            made = rebuilding.copy(node, {first: one, second: other})
        self._place(node, [(made, channel) for _, channel in self._of(first)])
        return made

    def _align(
        self,
        one: fx.Node,
        places: Sequence[Place],
        other: fx.Node,
        other_places: Sequence[Place],
    ) -> bool:
        """Puts the other's channels in the order of the one's, if that costs nothing."""
        order = _order_like(places, other_places)
        if order == list(range(len(order))):
            return True
        done = reorder(self._rebuilding.build, other, order, one)
        if not done:
            return False
        now = {channel: place for place, channel in enumerate(order)}

        def renamed(place: Place) -> Place:
            source, channel = place
            return (source, now[channel]) if source in done else place

        # Also of tensors inside, which somebody may read later.
        for old in self._rebuilding.made_as(done):
            self._of(old)
        for old, known in self._places.items():
            if not self._sources[old].isdisjoint(done):
                self._places[old] = list(map(renamed, known))
        self._passed = {renamed(here): renamed(there) for here, there in self._passed.items()}
        return True

    def _whole(self, old: fx.Node) -> fx.Node | None:
        """Returns the new tensor that has an old one's channels, all and no others, in any order.

        Several tensors that have them together are concatenated.
        """
        places = self._of(old)
        sources = tuple(dict.fromkeys(source for source, _ in places))
        every = [(source, c) for source in sources for c in range(shape_of(source)[1])]
        if len(places) != len(every) or {*places} != {*every}:
            return None
        if len(sources) == 1:
            return sources[0]
        joined = self._gather(every, address_of(old))
        now = {place: (joined, channel) for channel, place in enumerate(every)}
        self._place(old, [now[place] for place in places])
        return joined

    def _gather(self, places: Sequence[Place], address: str) -> fx.Node:
        """Returns a new node with channels in an order, moving as few as can be."""
        key = tuple(places)
        if key not in self._gathered:
            self._gathered[key] = self._moving(places, address)
        return self._gathered[key]

    def _moving(self, places: Sequence[Place], address: str) -> fx.Node:
        made = self._moved_together(places, address)
        sources = {source for source, _ in places}
        if len(sources) == 1 and made not in sources:
            channels = tuple(channel for _, channel in places)
            self._sliced[made] = Sliced(places[0][0], channels)
        return made

    def _moved_together(self, places: Sequence[Place], address: str) -> fx.Node:
        build = self._rebuilding.build
        runs = _runs(places)
        parts = [
            source
            if len(channels) == shape_of(source)[1]
            else build.call(
                aten.slice.Tensor, source, 1, channels[0], channels[-1] + 1, address=address
            )
            for source, channels in runs
        ]
        if len(parts) == 1:
            return parts[0]
        if len(runs) <= len({source for source, _ in places}) + 1:
            return build.call(aten.cat.default, parts, 1, address=address)
        whole, order = self._side_by_side(places, address)
        index = build.constant(f"{address}.order" if address else "order", torch.tensor(order))
        return build.call(aten.index_select.default, whole, 1, index, address=address)

    def _side_by_side(self, places: Sequence[Place], address: str) -> tuple[fx.Node, list[int]]:
        """Returns one tensor with all channels of all sources, and where the places are in it."""
        starts: dict[fx.Node, int] = {}
        every: list[Place] = []
        for source in dict.fromkeys(source for source, _ in places):
            starts[source] = len(every)
            every += [(source, channel) for channel in range(shape_of(source)[1])]
        whole = self._gather(every, address) if len(starts) > 1 else every[0][0]
        return whole, [starts[source] + channel for source, channel in places]


def _order_like(places: Sequence[Place], others: Sequence[Place]) -> list[int]:
    """Returns which of the others' channels is to stand where each of the first ones does."""
    order = [0] * len(places)
    for (_, channel), (_, other) in zip(places, others, strict=True):
        order[channel] = other
    return order


def _depthwise_at(conv: Convolution, source: fx.Node, places: Sequence[Place]) -> Convolution:
    order = [0] * len(places)
    for row, (_, channel) in enumerate(places):
        order[channel] = row
    index = torch.tensor(order)
    return replace(conv, source=source, weight=conv.weight[index], bias=conv.bias[index])


def _runs(places: Sequence[Place]) -> list[tuple[fx.Node, list[int]]]:
    runs = [(places[0][0], [places[0][1]])]
    for (before, channel), (source, number) in pairwise(places):
        if source is before and number == channel + 1:
            runs[-1][1].append(number)
        else:
            runs.append((source, [number]))
    return runs
