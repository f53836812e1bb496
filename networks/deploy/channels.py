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

    Any chain of views, splits, stacks and transposes whose result has whole channels of maps as
    its channels becomes one concatenation of slices, or a gather (``index_select``) with a
    constant order; maps on the way are made as well, since runtimes know a shuffle by its order.
    Chains that move numbers in another way stay as they are.

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
        self._picks: dict[fx.Node, tuple[Pick, ...]] = {}
        self._sources: list[tuple[int, fx.Node]] = []
        self._num_places = 0

    def picks(self, node: fx.Node) -> tuple[Pick, ...] | None:
        """Returns the channels that a movement puts out, None if they are no whole channels.

        Args:
            node: A node of a captured graph.
        """
        self._of(node)
        return self._picks.get(node)

    def _of(self, node: fx.Node) -> Tensor | tuple[Tensor, ...]:
        if node not in self._places:
            self._places[node] = self._moved(node) if _moves(node) else self._new(node)
        return self._places[node]

    def _moved(self, node: fx.Node) -> Tensor | tuple[Tensor, ...]:
        assert callable(node.target)
        moved = node.target(*fx.map_arg(node.args, self._of), **node.kwargs)
        if not isinstance(moved, Tensor):
            return tuple(moved)
        picks = self._read(moved) if is_maps(node) else None
        if picks is None:
            return moved
        # These maps are made, and what moves them further starts from them.
        self._picks[node] = picks
        return self._new(node)

    def _new(self, node: fx.Node) -> Tensor:
        count = torch.Size(shape_of(node)).numel()
        found = torch.arange(self._num_places, self._num_places + count).reshape(shape_of(node))
        self._sources.append((self._num_places, node))
        self._num_places += count
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
        if len({pick.source for pick in picks}) == len(picks) and all(map(_is_run, picks)):
            return self._join([self._slice(pick, address) for pick in picks], address)
        # What nobody picks beside a run is sliced off first: joining takes as long as it is.
        runs = {source: _run_of(picks, source) for source in dict.fromkeys(map(_source, picks))}
        starts, count = {}, 0
        for source, run in runs.items():
            starts[source] = count - run.channels[0]
            count += len(run.channels)
        whole = self._join([self._slice(run, address) for run in runs.values()], address)
        order = [starts[pick.source] + channel for pick in picks for channel in pick.channels]
        return gather(self._rebuilding, whole, order, address)

    def _slice(self, pick: Pick, address: str) -> fx.Node:
        made = self._rebuilding[pick.source]
        return slice_channels(self._rebuilding, made, pick.channels[0], len(pick.channels), address)

    def _join(self, parts: Sequence[fx.Node], address: str) -> fx.Node:
        if len(parts) == 1:
            return parts[0]
        key = tuple(parts)
        if key not in self._joined:
            joined = self._rebuilding.build.call(aten.cat.default, list(parts), 1, address=address)
            self._joined[key] = joined
        return self._joined[key]


def _source(pick: Pick) -> fx.Node:
    return pick.source


def _run_of(picks: Sequence[Pick], source: fx.Node) -> Pick:
    """Returns the channels from the first to the last that are picked of a tensor."""
    channels = [each for pick in picks if pick.source is source for each in pick.channels]
    return Pick(source, tuple(range(min(channels), max(channels) + 1)))


def _is_run(pick: Pick) -> bool:
    return all(after == before + 1 for before, after in pairwise(pick.channels))


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
