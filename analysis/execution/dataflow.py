"""Which operation of a network reads what which other one wrote.

Operations in closed form say the shapes of what they read, not who made it. Who did is recorded,
layer by layer, on tensors without values; layers that were seen before cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor, nn

from blocks import (
    IMAGE,
    BranchworkError,
    Composite,
    ImageSize,
    Ins,
    LayerSpec,
    Op,
    Problem,
    Recording,
    Shape,
    record,
)
from networks import NetworkSpec

_KEPT_LAYERS = 2_000
_MAPS = 3
_FIRST_BRANCH = -3
_NUM_INPUTS = {
    "add": (2, 2),
    "mul": (1, 2),
    **dict.fromkeys(("relu", "relu6", "sigmoid", "gelu", "batch_norm", "mean"), (1, 1)),
    **dict.fromkeys(("avg_pool", "max_pool", "upsample_nearest", "upsample_bilinear"), (1, 1)),
}
"""How many tensors are read at least and at most, by kind; others read at least one."""

OUTSIDE, NOBODY = -1, -2
"""The writers of what no operation wrote: the image, and what is the same for all images."""
_ENLARGED = 8


@dataclass(frozen=True, eq=False)
class Dataflow:
    """The operations of a network on which its output depends, and who reads what.

    Attributes:
        ops: The operations, in order.
        reads: For each of them, the places of those that wrote its inputs.
        outputs: The places of those that wrote what the network puts out.
    """

    ops: tuple[Op, ...]
    reads: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]

    @cached_property
    def readers(self) -> tuple[tuple[int, ...], ...]:
        """For each operation, the places of those that read it; one that reads twice is twice."""
        found: list[list[int]] = [[] for _ in self.ops]
        for place, writers in enumerate(self.reads):
            for writer in writers:
                if writer >= 0:
                    found[writer].append(place)
        return tuple(map(tuple, found))

    def only_reader(self, place: int) -> int | None:
        """Returns the operation that alone reads another; None if several do or it is put out."""
        readers = self.readers[place]
        return readers[0] if len(readers) == 1 and place not in self.outputs else None

    def made(self, place: int) -> Shape:
        """Returns the shape that an operation's result has for its readers.

        Channels that were stacked in groups are read as a row of channels.
        """
        op = self.ops[place]
        if op.kind != "stack" or not is_usual(op):
            return op.out
        groups, parts, *rest = op.out
        return (groups * parts, *rest)

    def is_transposed(self, writer: int, shape: Shape) -> bool:
        """Tells whether a reader has another side first than what was written."""
        whole = self.made(writer)
        are_maps = len(shape) == len(whole) == _MAPS
        return are_maps and shape[0] != whole[0] and sorted(shape) == sorted(whole)

    @cached_property
    def ancestors(self) -> tuple[int, ...]:
        """For each operation, those that it depends on: bit n stands for place n."""
        found: list[int] = []
        for writers in self.reads:
            bits = 0
            for writer in writers:
                if writer >= 0:
                    bits |= found[writer] | 1 << writer
            found.append(bits)
        return tuple(found)


def dataflow(spec: NetworkSpec, size: ImageSize) -> Dataflow:
    """Returns what a network executes on an image of this size, and who reads what.

    Raises:
        BranchworkError: If a stride does not divide the image.
    """
    ops = spec.operations(size)
    reads: list[tuple[int, ...]] = []
    branches: list[int] = [OUTSIDE]
    for layer, ins in _innermost(spec, IMAGE):
        flow = _recorded(layer, ins)
        first = len(reads)

        def placed(writer: int, first: int = first, before: Sequence[int] = tuple(branches)) -> int:
            if writer >= 0:
                return first + writer
            return NOBODY if writer == NOBODY else before[_FIRST_BRANCH - writer]

        reads += [tuple(map(placed, writers)) for writers in flow.reads]
        branches = [placed(writer) for writer in flow.outputs]
    assert len(reads) == len(ops)
    return _live(ops, reads, branches)


def _live(ops: Sequence[Op], reads: Sequence[tuple[int, ...]], outputs: Sequence[int]) -> Dataflow:
    """Leaves out what nobody reads."""
    needed = set(outputs)
    for place in reversed(range(len(ops))):
        if place in needed:
            needed.update(reads[place])
    kept = sorted(needed - {OUTSIDE, NOBODY})
    now = {place: index for index, place in enumerate(kept)}
    now |= {OUTSIDE: OUTSIDE, NOBODY: NOBODY}
    return Dataflow(
        tuple(ops[place] for place in kept),
        tuple(tuple(now[writer] for writer in reads[place]) for place in kept),
        tuple(now[writer] for writer in outputs),
    )


def _innermost(layer: LayerSpec, ins: Ins) -> Iterator[tuple[LayerSpec, Ins]]:
    if isinstance(layer, Composite):
        for child, child_ins in layer.parts(ins):
            yield from _innermost(child, child_ins)
    else:
        yield layer, ins


@dataclass(frozen=True)
class _LayerFlow:
    """Who reads what inside a layer.

    Attributes:
        reads: For each operation, the places of the writers in the layer; -3 - n stands for the
            n-th branch that comes in, ``NOBODY`` for what none wrote.
        outputs: The writers of the branches that go out.
    """

    reads: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]


@lru_cache(maxsize=_KEPT_LAYERS)
def _recorded(layer: LayerSpec, ins: Ins) -> _LayerFlow:
    stride = max(shape.stride for shape in (*ins, *layer.out_shapes(ins)))
    num_ops = len(ins) + len(layer.ops(ins, ImageSize(stride, stride)))
    found = _observed(layer, ins, stride)
    if found.failed_at is not None:
        # Some layers need more than one position.
        found = _observed(layer, ins, _ENLARGED * stride)
    if found.failed_at is not None or len(found.reads) != num_ops:
        raise BranchworkError(
            Problem(
                where=type(layer).__name__,
                rule="a layer executes what its closed form lists",
                got=found.reason or f"{len(found.reads)} operations where {num_ops} are listed",
                do="run blocks.testing.check_block on it",
            )
        )

    def inside(writer: int) -> int:
        if writer >= len(ins):
            return writer - len(ins)
        return NOBODY if writer < 0 else _FIRST_BRANCH - writer

    return _LayerFlow(
        tuple(tuple(map(inside, writers)) for writers in found.reads[len(ins) :]),
        tuple(map(inside, found.outputs)),
    )


def _observed(layer: LayerSpec, ins: Ins, side: int) -> Recording:
    with torch.device("meta"):
        probe = _Probe(layer.build(ins))
        xs = [torch.empty(1, *shape.at(ImageSize(side, side))) for shape in ins]
    return record(probe, xs, as_list=True)


def is_usual(op: Op) -> bool:
    """Tells whether an operation does what its name says to maps, so that rules hold for it.

    Blocks from elsewhere may add up vectors, scale by products of weights, and so on.
    """
    fewest, most = _NUM_INPUTS.get(op.kind, (1, len(op.ins)))
    are_maps = all(len(shape) == _MAPS for shape in op.ins)
    sides = _MAPS + (op.kind == "stack")
    return fewest <= len(op.ins) <= most and are_maps and len(op.out) == sides


class _Probe(nn.Module):
    """Puts one operation before every input of a layer, so that each has a writer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        outs: list[Tensor] = self.layer([x * 1 for x in xs])
        return outs
