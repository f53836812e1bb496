"""What a network executes although nobody reads it, such as the coarser sums of a last fusion.

Our modules run it, and so it counts; tools that trace back from the output do not see it. Which
operations these are is found backwards, from the branches that the head reads, through every layer
of which not all branches are read: the layer says what it reads, or its data flow is recorded on
its own. A layer whose branches are all read reads all that come in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from blocks import IMAGE, Composite, Flow, ImageSize, Ins, LayerSpec, Op, record
from networks import NetworkSpec

_KEPT_LAYERS = 2_000

Read = frozenset[int]
"""The numbers of the branches that are read."""


@dataclass(frozen=True)
class PartlyRead:
    """A layer of which not everything is read.

    Attributes:
        ops: Its operations.
        flow: What is read of it.
    """

    ops: tuple[Op, ...]
    flow: Flow

    @property
    def unread_ops(self) -> list[Op]:
        """The operations that nobody reads."""
        return [self.ops[place] for place in self.flow.unread]


def trace_back(
    layer: LayerSpec, ins: Ins, size: ImageSize, read: Read
) -> tuple[tuple[PartlyRead, ...], Read]:
    """Finds what of a layer is read if only some of the branches are that it puts out.

    Args:
        layer: The layer.
        ins: The branches that come in.
        size: The image's size.
        read: Those of its own that are read.

    Returns:
        Its innermost layers from the first on that is not wholly read, in order; and the branches
        that are read of those that come in.
    """
    if len(read) == len(layer.out_shapes(ins)):
        return (), every(ins)
    if not isinstance(layer, Composite):
        part = _partly_read(layer, ins, size, read)
        return (part,), part.flow.reads
    found: tuple[PartlyRead, ...] = ()
    for child, child_ins in reversed(layer.parts(ins)):
        inner, read = trace_back(child, child_ins, size, read)
        found = inner + found
    return found, read


def read_by_head(head: LayerSpec, ins: Ins, size: ImageSize) -> Read:
    """Returns the branches that a head reads."""
    if len(ins) == 1:
        return every(ins)
    return _partly_read(head, ins, size, every(head.out_shapes(ins))).flow.reads


def partly_read_layers(spec: NetworkSpec, size: ImageSize) -> tuple[PartlyRead, ...]:
    """Returns a network's innermost layers from the first on that is not wholly read, in order.

    The head, of which everything is read, is none of them.
    """
    *layers, (head, head_ins) = spec.parts(IMAGE)
    read = read_by_head(head, head_ins, size)
    found: tuple[PartlyRead, ...] = ()
    for layer, ins in reversed(layers):
        inner, read = trace_back(layer, ins, size, read)
        found = inner + found
    return found


def unread_operations(spec: NetworkSpec) -> frozenset[int]:
    """Returns the places of the operations on which a network's output does not depend."""
    size = ImageSize(spec.coarsest_stride, spec.coarsest_stride)
    layers = partly_read_layers(spec, size)
    if not layers:
        return frozenset()
    head, head_ins = spec.parts(IMAGE)[-1]
    end = len(spec.operations(size)) - len(head.ops(head_ins, size))
    places: set[int] = set()
    for each in reversed(layers):
        end -= len(each.ops)
        places |= {end + place for place in each.flow.unread}
    return frozenset(places)


def every(branches: Ins) -> Read:
    """Returns the numbers of all branches."""
    return frozenset(range(len(branches)))


@lru_cache(maxsize=_KEPT_LAYERS)
def _partly_read(layer: LayerSpec, ins: Ins, size: ImageSize, read: Read) -> PartlyRead:
    ops = layer.ops(ins, size)
    return PartlyRead(ops, layer.flow(ins, ops, read) or recorded_flow(layer, ins, read))


def recorded_flow(layer: LayerSpec, ins: Ins, read: Read) -> Flow:
    """Records a layer's flow on the smallest tensors, without values (``LayerSpec.flow``)."""
    stride = max(shape.stride for shape in (*ins, *layer.out_shapes(ins)))
    size = ImageSize(stride, stride)
    with torch.device("meta"):
        probe = _Probe(layer.build(ins), sorted(read))
        xs = [torch.empty(1, *shape.at(size)) for shape in ins]
    are_read = record(probe, xs, as_list=True).are_read
    assert len(are_read) == len(ins) + len(layer.ops(ins, size))
    branches, ops = are_read[: len(ins)], are_read[len(ins) :]
    return Flow(
        tuple(place for place, is_read in enumerate(ops) if not is_read),
        frozenset(branch for branch, is_read in enumerate(branches) if is_read),
    )


class _Probe(nn.Module):
    """Puts one operation before every input of a layer, and puts out some of its branches."""

    def __init__(self, layer: nn.Module, read: list[int]) -> None:
        super().__init__()
        self.layer = layer
        self.read = read

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        outs = self.layer([x * 1 for x in xs])
        return [outs[branch] for branch in self.read]
