"""Hypothesis strategies for small, valid networks over all slots and kinds."""

from __future__ import annotations

from hypothesis import strategies as st

from blocks import IMAGE, SLOTS, BlockSpec, BranchShape, LayerSpec, Slot, fields_of, is_block_field
from networks import GroupSpec, NetworkSpec, StageSpec, UnitSpec
from networks.aggregators import IterativeAggregator, NoAggregator
from networks.fusions import NoFusion, ReleasedFusion, SumFusion
from networks.heads import DeconvHeatmapHead, Head, HeatmapHead
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

_WIDTHS = (4, 6, 8, 12)
WIDTHS = st.sampled_from(_WIDTHS)
STEMS = st.sampled_from(
    (
        LiteStem(channels=8),
        LiteStem(channels=8, expand_ratio=2),
        HRNetStem(channels=8),
        MobileNetV2Stem(channels=8),
        ShuffleNetV2Stem(channels=8),
    )
)


def _works_on_every_width(block: BlockSpec) -> bool:
    return not block.problems(tuple(BranchShape(width, 4) for width in _WIDTHS))


@st.composite
def any_blocks(draw: st.DrawFn) -> BlockSpec:
    """Any registered block, every field at its default or at a declared value."""
    cls = draw(st.sampled_from([entry.cls for entry in SLOTS[Slot.BLOCK]]))
    values = {
        info.name: draw(any_blocks())
        if is_block_field(info)
        else draw(st.sampled_from((info.default, *info.among)))
        for info in fields_of(cls)
    }
    return cls(**values)


def blocks() -> st.SearchStrategy[BlockSpec]:
    """Any block that works on all the widths drawn here."""
    return any_blocks().filter(_works_on_every_width)


@st.composite
def bodies(draw: st.DrawFn, num_branches: int) -> tuple[GroupSpec, ...]:
    """A partition of the branches into groups, also of branches that are no neighbours."""
    labels = draw(
        st.lists(st.integers(0, 2), min_size=num_branches, max_size=num_branches).filter(bool)
    )
    return tuple(
        GroupSpec(
            branches=tuple(branch for branch, other in enumerate(labels) if other == label),
            block=draw(blocks()),
            depth=draw(st.integers(1, 2)),
        )
        for label in draw(st.permutations(sorted(set(labels))))
    )


@st.composite
def single_transitions(draw: st.DrawFn) -> LayerSpec:
    """A transition for a network with one branch."""
    width = draw(WIDTHS)
    return draw(
        st.sampled_from(
            (
                BottleneckTransition(width=width),
                InvertedResidualTransition(width=width, expand_ratio=2),
                InvertedResidualTransition(width=width, expand_ratio=1, stride=1),
                PointwiseTransition(width=width, act="relu6"),
                ShuffleUnitTransition(width=width),
                SeparableTransition(widths=(width,)),
                DenseTransition(widths=(width,)),
            )
        )
    )


@st.composite
def stages(draw: st.DrawFn, num_branches: int, *, last: bool) -> StageSpec:
    """A stage over so many branches."""
    if num_branches == 1:
        transition = draw(single_transitions())
        fusions: list[LayerSpec] = [NoFusion()]
    else:
        widths = tuple(draw(st.lists(WIDTHS, min_size=num_branches, max_size=num_branches)))
        cls = draw(st.sampled_from((SeparableTransition, DenseTransition)))
        transition = cls(widths=widths)
        paths = draw(st.sampled_from(("separable", "dense")))
        fusions = [
            NoFusion(),
            SumFusion(paths=paths),
            ReleasedFusion(paths=paths),
            AdjacentFusion(paths=paths),
            LowRankFusion(paths=paths, ratio=draw(st.sampled_from((2, 4)))),
            PooledFusion(),
        ]
    units = [
        UnitSpec(body=draw(bodies(num_branches)), fusion=draw(st.sampled_from(fusions)))
        for _ in range(draw(st.integers(0, 2)))
    ]
    if last and units and num_branches > 1 and draw(st.booleans()):
        units[-1] = UnitSpec(body=units[-1].body, fusion=SumFusion(outputs="finest"))
    return StageSpec(transition=transition, units=tuple(units))


@st.composite
def specs(draw: st.DrawFn) -> NetworkSpec:
    """A whole network; its coarsest stride is at most 64."""
    stem = draw(STEMS)
    counts = sorted(draw(st.lists(st.integers(1, 4), min_size=0, max_size=3)))
    drawn = tuple(
        draw(stages(count, last=index == len(counts) - 1)) for index, count in enumerate(counts)
    )
    aggregator = draw(st.sampled_from((NoAggregator(), IterativeAggregator())))
    heads: tuple[Head, ...] = (
        HeatmapHead(num_outputs=3),
        DeconvHeatmapHead(num_outputs=3, num_deconvs=1, channels=4),
        FinestSegmentationHead(num_outputs=3, channels=4),
    )
    ins = stem.out_shapes(IMAGE)
    for stage in drawn:
        ins = stage.out_shapes(ins)
    if len(ins) > 1:
        heads += (
            ConcatSegmentationHead(num_outputs=3),
            ConcatSegmentationHead(num_outputs=3, channels=4, mix="before"),
            AttentionSegmentationHead(num_outputs=3, channels=4),
        )
    return NetworkSpec(
        stem=stem, stages=drawn, aggregator=aggregator, head=draw(st.sampled_from(heads))
    )
