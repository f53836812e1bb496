"""One or more example specs of every registered kind, with branches that they work on.

A kind without an example fails tests/contract: whoever adds one adds it here as well. Blocks need
no example; theirs are made from their declared fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from blocks import IMAGE, SLOTS, BlockSpec, BranchShape, Ins, LayerSpec, Slot, fields_of
from blocks.basic import Basic
from blocks.ccw import ConditionalChannelWeighting
from blocks.split import Split
from blocks.testing import DEFAULT_INS
from networks.aggregators import IterativeAggregator, NoAggregator
from networks.fusions import NoFusion, ReleasedFusion, SumFusion
from networks.heads import DeconvHeatmapHead, HeatmapHead
from networks.segmentation_heads import (
    AttentionSegmentationHead,
    ConcatSegmentationHead,
    FinestSegmentationHead,
)
from networks.sparse_fusions import AdjacentFusion, LowRankFusion, PooledFusion
from networks.stems import HRNetStem, LiteStem, MobileNetV2Stem, ShuffleNetV2Stem
from networks.transitions import (
    BottleneckTransition,
    DenseTransition,
    InvertedResidualTransition,
    PointwiseTransition,
    SeparableTransition,
    ShuffleUnitTransition,
)

ONE: Ins = (BranchShape(16, 4),)
TWO: Ins = (BranchShape(8, 4), BranchShape(12, 8))
FOUR: Ins = (BranchShape(8, 4), BranchShape(12, 8), BranchShape(16, 16), BranchShape(20, 32))


@dataclass(frozen=True)
class Example:
    """A layer with the branches to try it on."""

    slot: Slot
    kind: str
    layer: LayerSpec
    ins: tuple[Ins, ...]

    def __str__(self) -> str:
        return f"{self.slot.value}.{self.kind}"


_LAYERS: dict[Slot, tuple[tuple[LayerSpec, tuple[Ins, ...]], ...]] = {
    Slot.STEM: (
        (LiteStem(), (IMAGE,)),
        (LiteStem(channels=16, expand_ratio=2), (IMAGE,)),
        (HRNetStem(channels=16), (IMAGE,)),
        (MobileNetV2Stem(), (IMAGE,)),
        (ShuffleNetV2Stem(), (IMAGE,)),
    ),
    Slot.TRANSITION: (
        (SeparableTransition(widths=(12, 16)), (ONE, TWO)),
        (SeparableTransition(widths=(8, 12, 16, 20)), (ONE, TWO, FOUR)),
        (DenseTransition(widths=(16, 12, 8)), (ONE, TWO)),
        (DenseTransition(widths=(6,)), (ONE,)),
        (BottleneckTransition(width=24, reduce_ratio=2), (ONE,)),
        (InvertedResidualTransition(width=24), (ONE,)),
        (InvertedResidualTransition(width=8, expand_ratio=1, stride=1), (ONE,)),
        (PointwiseTransition(width=24), (ONE,)),
        (PointwiseTransition(width=24, act="relu6"), (ONE,)),
        (ShuffleUnitTransition(width=24), (ONE,)),
    ),
    Slot.FUSION: (
        (NoFusion(), (ONE, TWO, FOUR)),
        (SumFusion(), (TWO, FOUR)),
        (SumFusion(paths="dense"), (TWO, FOUR)),
        (SumFusion(outputs="finest"), (TWO, FOUR)),
        (ReleasedFusion(), (TWO, FOUR)),
        (ReleasedFusion(paths="dense"), (TWO, FOUR)),
        (AdjacentFusion(), (TWO, FOUR)),
        (AdjacentFusion(paths="dense"), (TWO, FOUR)),
        (LowRankFusion(), (TWO, FOUR)),
        (LowRankFusion(paths="dense"), (TWO, FOUR)),
        (LowRankFusion(ratio=2), (TWO, FOUR)),
        (LowRankFusion(ratio=8), (TWO, FOUR)),
        (PooledFusion(), (TWO, FOUR)),
    ),
    Slot.AGGREGATOR: (
        (NoAggregator(), (ONE, TWO, FOUR)),
        (IterativeAggregator(), (ONE, TWO, FOUR)),
    ),
    Slot.HEAD: (
        (HeatmapHead(num_outputs=5), (ONE, FOUR)),
        (DeconvHeatmapHead(num_outputs=5, num_deconvs=2, channels=8), (ONE, FOUR)),
        (ConcatSegmentationHead(num_outputs=5), (TWO, FOUR)),
        (ConcatSegmentationHead(num_outputs=5, channels=8, mix="before"), (TWO, FOUR)),
        (FinestSegmentationHead(num_outputs=5, channels=8), (ONE, FOUR)),
        (AttentionSegmentationHead(num_outputs=5, channels=8), (TWO, FOUR)),
    ),
}


def variants(cls: type[LayerSpec]) -> Iterator[LayerSpec]:
    """Yields a kind with its defaults, then with every declared value of every field."""
    yield cls()
    for info in fields_of(cls):
        for value in info.among:
            if value != info.default:
                yield cls(**{info.name: value})


_SPLITS = (
    Split(block=Basic()),
    Split(block=ConditionalChannelWeighting()),
    Split(block=Split(block=Basic()), divisor=2, shuffle=False),
)
"""Blocks around other blocks than the default: a field that is a block declares no values."""


def _block_examples() -> Iterator[Example]:
    for layer in _SPLITS:
        yield Example(Slot.BLOCK, "split", layer, DEFAULT_INS[:1])
    for entry in SLOTS[Slot.BLOCK]:
        for layer in variants(entry.cls):
            assert isinstance(layer, BlockSpec)
            yield Example(Slot.BLOCK, entry.name, layer, DEFAULT_INS)


def examples() -> list[Example]:
    """All examples of all slots."""
    others = [
        Example(slot, SLOTS[slot].entry_of(type(layer)).name, layer, ins)
        for slot, rows in _LAYERS.items()
        for layer, ins in rows
    ]
    return [*_block_examples(), *others]
