"""Turns splitting, stacking and shuffling of channels into slices, concatenations and gathers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, fx

from networks.deploy.building import Rebuilding, address_of, aten, is_maps, shape_of

MOVEMENTS = frozenset(
    {
        operator.getitem,
        aten.reshape.default,
        aten.view.default,
        aten.split.Tensor,
        aten.split_with_sizes.default,
        aten.unbind.int,
        aten.slice.Tensor,
        aten.select.int,
        aten.permute.default,
        aten.transpose.int,
        aten.t.default,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.unsqueeze.default,
        aten.alias.default,
        aten.detach.default,
        aten.clone.default,
        aten.stack.default,
        aten.cat.default,
        aten.index_select.default,
        aten.channel_shuffle.default,
        aten.native_channel_shuffle.default,
    }
)
"""Operators that compute nothing: each number that they put out is one that came in."""


@dataclass(frozen=True)
class Pick:
    """Some channels of one tensor, in order.

    Attributes:
        source: What makes the tensor.
        channels: The channels.
    """

    source: fx.Node
    channels: tuple[int, ...]


def as_channels(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which channels are moved by few operators, never in five dimensions.

    Any chain of views, splits, stacks and transposes whose result has whole channels of computed
    maps as its channels becomes one concatenation of slices, or a gather (``index_select``) with
    a constant order. Chains that move numbers in another way stay as they are.

    Args:
        module: A captured graph; it is left as it is.
    """
    reader = ChannelReader()
    rebuilding = Rebuilding(module)
    writer = _Writer(rebuilding)

    def move(_: Rebuilding, node: fx.Node) -> fx.Node | None:
        picks = reader.picks(node) if _moves(node) else None
        return None if picks is None else writer.write(picks, address_of(node))

    return rebuilding.run(dict.fromkeys(MOVEMENTS, move))


class ChannelReader:
    """Tells from which channels the channels of moved maps come.

    Every number of a computed tensor has a place; movements are carried out on the places.
    """

    def __init__(self) -> None:
        self._places: dict[fx.Node, Tensor | tuple[Tensor, ...]] = {}
        self._sources: list[tuple[int, fx.Node]] = []
        self._num_places = 0

    def picks(self, node: fx.Node) -> tuple[Pick, ...] | None:
        """Returns the channels that a movement puts out, None if they are no whole channels.

        Args:
            node: A node of a captured graph.
        """
        if not is_maps(node):
            return None
        places = self._of(node)
        assert isinstance(places, Tensor)
        return self._read(places)

    def _of(self, node: fx.Node) -> Tensor | tuple[Tensor, ...]:
        if node in self._places:
            return self._places[node]
        if _moves(node):
            assert callable(node.target)
            moved = node.target(*fx.map_arg(node.args, self._of), **node.kwargs)
            found = moved if isinstance(moved, Tensor) else tuple(moved)
        else:
            count = torch.Size(shape_of(node)).numel()
            found = torch.arange(self._num_places, self._num_places + count)
            found = found.reshape(shape_of(node))
            self._sources.append((self._num_places, node))
            self._num_places += count
        self._places[node] = found
        return found

    def _read(self, places: Tensor) -> tuple[Pick, ...] | None:
        firsts = places[0, :, 0, 0].tolist()
        picks: list[tuple[fx.Node, list[int]]] = []
        rows = []
        for first in firsts:
            start, source = self._source(first)
            shape = shape_of(source)
            if not is_maps(source) or shape[0] != len(places) or shape[2:] != places.shape[2:]:
                return None
            area = shape[2] * shape[3]
            channel, rest = divmod(first - start, area)
            if rest or channel >= shape[1]:
                return None
            if picks and picks[-1][0] is source:
                picks[-1][1].append(channel)
            else:
                picks.append((source, [channel]))
            whole = self._of(source)
            assert isinstance(whole, Tensor)
            rows.append(whole[:, channel])
        if not torch.equal(torch.stack(rows, dim=1), places):
            return None
        return tuple(Pick(source, tuple(channels)) for source, channels in picks)

    def _source(self, place: int) -> tuple[int, fx.Node]:
        return next(each for each in reversed(self._sources) if each[0] <= place)


def _moves(node: fx.Node) -> bool:
    """Tells whether a node moves what was computed, in an order that holds for every image."""
    if node.op != "call_function" or node.target not in MOVEMENTS:
        return False
    if node.target is operator.getitem:
        return _moves(node.all_input_nodes[0])
    if node.target is aten.index_select.default:
        return False
    return all(each.op != "get_attr" for each in node.all_input_nodes)


class _Writer:
    """Writes picked channels into the new graph; what was concatenated once is not again."""

    def __init__(self, rebuilding: Rebuilding) -> None:
        self._rebuilding = rebuilding
        self._joined: dict[tuple[fx.Node, ...], fx.Node] = {}

    def write(self, picks: Sequence[Pick], address: str) -> fx.Node:
        sources = tuple(dict.fromkeys(pick.source for pick in picks))
        if len(picks) == len(sources) and all(_run(pick.channels) for pick in picks):
            parts = [self._slice(pick, address) for pick in picks]
            return parts[0] if len(parts) == 1 else self._join(tuple(parts), address)
        starts, count = {}, 0
        for source in sources:
            starts[source] = count
            count += shape_of(source)[1]
        joined = tuple(self._rebuilding[source] for source in sources)
        whole = joined[0] if len(joined) == 1 else self._join(joined, address)
        order = [starts[pick.source] + channel for pick in picks for channel in pick.channels]
        return gather(self._rebuilding, whole, order, address)

    def _slice(self, pick: Pick, address: str) -> fx.Node:
        made = self._rebuilding[pick.source]
        return slice_channels(self._rebuilding, made, pick.channels[0], len(pick.channels), address)

    def _join(self, parts: tuple[fx.Node, ...], address: str) -> fx.Node:
        if parts not in self._joined:
            joined = self._rebuilding.build.call(aten.cat.default, list(parts), 1, address=address)
            self._joined[parts] = joined
        return self._joined[parts]


def _run(channels: Sequence[int]) -> bool:
    return all(after == before + 1 for before, after in pairwise(channels))


def slice_channels(
    rebuilding: Rebuilding, node: fx.Node, start: int, count: int, address: str
) -> fx.Node:
    """Returns neighbouring channels of a new node; itself if they are all."""
    if (start, count) == (0, shape_of(node)[1]):
        return node
    return rebuilding.build.call(aten.slice.Tensor, node, 1, start, start + count, address=address)


def gather(rebuilding: Rebuilding, node: fx.Node, order: Sequence[int], address: str) -> fx.Node:
    """Returns channels of a new node in any order."""
    name = f"{address}.order" if address else "order"
    index = rebuilding.build.constant(name, torch.tensor(order))
    return rebuilding.build.call(aten.index_select.default, node, 1, index, address=address)
