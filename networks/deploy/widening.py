"""Lets a block work on all channels of a branch where it worked on some and passed the others.

Half of a branch passes a conditional channel weighting untouched; taking the halves apart and
putting them together again moves more bytes than the block computes with. A depthwise filter that
is 1 in its middle and a gate that is 1 change nothing, so the block's weights can be widened to
all channels and no channel has to move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import fx

from networks.deploy.building import Builder, address_of, arguments_of, aten, shape_of
from networks.deploy.convolutions import Convolution, read_convolution

_OPEN = 40.0
"""What a sigmoid has to be given to be exactly 1, in double precision as well."""


@dataclass(frozen=True)
class Sliced:
    """A new node that has some channels of another.

    Attributes:
        source: The other.
        channels: The channels, in the node's order.
    """

    source: fx.Node
    channels: tuple[int, ...]


@dataclass
class Widening:
    """One attempt to widen what was computed from a slice.

    Attributes:
        build: The graph under construction.
        sliced: All nodes that are slices.
        whole: The tensor of which a slice was worked on; the widened nodes have its channels.
        channels: Which of them were worked on, in the order of the narrow nodes.
    """

    build: Builder
    sliced: Mapping[fx.Node, Sliced]
    whole: fx.Node
    channels: tuple[int, ...]
    wide: dict[fx.Node, fx.Node] = field(default_factory=dict)

    def run(self, narrow: fx.Node) -> bool:
        """Widens a node and everything between it and the slice.

        Args:
            narrow: What was computed from the slice, and is put beside the other channels.

        Returns:
            Whether it could be done; ``wide`` then has the widened nodes. If not, the graph holds
            nodes that nobody reads.
        """
        if self._carry(narrow) is None:
            return False
        chain = dict(self.wide)
        for before, after in chain.items():
            self._read_wide(before, after, self.channels, set(chain))
        return True

    def _carry(self, node: fx.Node) -> fx.Node | None:
        """Returns the widened node whose other channels are those of ``whole``."""
        if node in self.wide:
            return self.wide[node]
        made = self._carried(node)
        if made is not None:
            self.wide[node] = made
        return made

    def _carried(self, node: fx.Node) -> fx.Node | None:
        part = self.sliced.get(node)
        if part is not None:
            fits = part.source is self.whole and part.channels == self.channels
            return self.whole if fits else None
        return self._weighed(node) if node.target is aten.mul.Tensor else self._convolved(node)

    def _weighed(self, node: fx.Node) -> fx.Node | None:
        first, second = arguments_of(node)
        if not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
            return None
        for one, gate in ((first, second), (second, first)):
            carried = self._carry(one)
            opened = None if carried is None else self._open(gate)
            if opened is not None:
                with self.build.graph.inserting_before(node):
                    return self.build.call(
                        aten.mul.Tensor, carried, opened, address=address_of(node)
                    )
        return None

    def _convolved(self, node: fx.Node) -> fx.Node | None:
        conv = read_convolution(self.build, node)
        if conv is None or not conv.is_depthwise or not conv.keeps_size:
            return None
        carried = self._carry(conv.source)
        if carried is None:
            return None
        with self.build.graph.inserting_before(node):
            return self._filtered(conv, carried).write(self.build)

    def _filtered(self, conv: Convolution, source: fx.Node) -> Convolution:
        count, rows = self._count, torch.tensor(self.channels)
        weight = conv.weight.new_zeros(count, *conv.weight.shape[1:])
        height, width = conv.weight.shape[2:]
        weight[:, 0, height // 2, width // 2] = 1
        weight[rows] = conv.weight
        bias = conv.bias.new_zeros(count)
        bias[rows] = conv.bias
        return replace(conv, source=source, weight=weight, bias=bias, groups=count)

    def _open(self, node: fx.Node) -> fx.Node | None:
        """Returns the widened node whose other channels are 1."""
        if node.target is aten.upsample_nearest2d.default:
            source = node.args[0]
            assert isinstance(source, fx.Node)
            opened = self._open(source)
            if opened is None:
                return None
            with self.build.graph.inserting_before(node):
                return self.build.call(
                    aten.upsample_nearest2d.default,
                    opened,
                    *node.args[1:],
                    address=address_of(node),
                )
        part = self.sliced.get(node, Sliced(node, tuple(range(shape_of(node)[1]))))
        gate = part.source
        if gate.target is not aten.sigmoid.default or not isinstance(gate.args[0], fx.Node):
            return None
        conv = read_convolution(self.build, gate.args[0])
        if conv is None or not conv.is_dense:
            return None
        with self.build.graph.inserting_before(node):
            made = self._opened(conv.with_rows(part.channels)).write(self.build)
            return self.build.call(aten.sigmoid.default, made, address=address_of(gate))

    def _opened(self, conv: Convolution) -> Convolution:
        rows = torch.tensor(self.channels)
        weight = conv.weight.new_zeros(self._count, *conv.weight.shape[1:])
        weight[rows] = conv.weight
        bias = conv.bias.new_full((self._count,), _OPEN)
        bias[rows] = conv.bias
        return replace(conv, weight=weight, bias=bias)

    @property
    def _count(self) -> int:
        return shape_of(self.whole)[1]

    def _read_wide(
        self, narrow: fx.Node, wide: fx.Node, places: Sequence[int], chain: set[fx.Node]
    ) -> None:
        """Lets everybody who reads a narrow node read the widened one.

        Args:
            narrow: The node.
            wide: The widened node.
            places: Where the narrow node's channels are in it.
            chain: Nodes that have widened counterparts of their own.
        """
        for user in list(narrow.users):
            if user in chain or user is wide:
                continue
            with self.build.graph.inserting_before(user):
                self._let_read(user, narrow, wide, places)

    def _let_read(
        self, user: fx.Node, narrow: fx.Node, wide: fx.Node, places: Sequence[int]
    ) -> None:
        conv = read_convolution(self.build, user)
        if _reduces(user):
            less = self.build.call(
                user.target,  # type: ignore[arg-type]
                wide,
                *user.args[1:],
                address=address_of(user),
                named=user.kwargs,
            )
            self._read_wide(user, less, places, set())
        elif user.target is aten.cat.default and user.args[1:] == (1,):
            self._join(user, narrow, wide, places)
        elif conv is not None and conv.is_dense:
            made = conv.reading(wide, places, shape_of(wide)[1]).write(self.build)
            user.args = made.args
            self.build.graph.erase_node(made)
        else:
            index = self.build.constant("order", torch.tensor(places))
            picked = self.build.call(
                aten.index_select.default, wide, 1, index, address=address_of(user)
            )
            user.replace_input_with(narrow, picked)

    def _join(self, user: fx.Node, narrow: fx.Node, wide: fx.Node, places: Sequence[int]) -> None:
        parts, dimension = arguments_of(user)
        assert dimension == 1
        now: list[int] = []
        count = 0
        for part in parts:
            assert isinstance(part, fx.Node)
            taken = list(places) if part is narrow else list(range(shape_of(part)[1]))
            now += [count + place for place in taken]
            count += shape_of(wide if part is narrow else part)[1]
        joined = self.build.call(
            aten.cat.default,
            [wide if part is narrow else part for part in parts],
            1,
            address=address_of(user),
        )
        self._read_wide(user, joined, now, set())


def _reduces(node: fx.Node) -> bool:
    """Tells whether a node makes less of each channel of maps."""
    if node.target is aten.mean.dim:
        source, sides, *_ = arguments_of(node)
        return bool(sides) and {side % len(shape_of(source)) for side in sides} <= {2, 3}
    return node.target is aten.avg_pool2d.default
