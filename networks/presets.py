"""Presets: published networks as functions that return their specs.

Counts that they reach to the unit, and the sources of every layer, are pinned by tests/golden.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blocks import BlockSpec, LayerSpec
from blocks.basic import Basic
from blocks.bottleneck import Bottleneck
from blocks.ccw import ConditionalChannelWeighting
from blocks.conv1x1_shuffle import Conv1x1Shuffle
from blocks.inverted_residual import InvertedResidual
from networks.aggregators import IterativeAggregator, NoAggregator
from networks.fusions import NoFusion, ReleasedFusion, SumFusion
from networks.heads import DeconvHeatmapHead, HeatmapHead
from networks.segmentation_heads import ConcatSegmentationHead
from networks.spec import GroupSpec, NetworkSpec, StageSpec, UnitSpec
from networks.stems import HRNetStem, LiteStem, MobileNetV2Stem, ShuffleNetV2Stem
from networks.transitions import (
    BottleneckTransition,
    DenseTransition,
    InvertedResidualTransition,
    PointwiseTransition,
    SeparableTransition,
    ShuffleUnitTransition,
)


def lite_hrnet_18(num_outputs: int = 17) -> NetworkSpec:
    """Lite-HRNet-18: conditional channel weighting, 2 / 4 / 2 units (arXiv 2104.06403, table 1)."""
    return _lite(ConditionalChannelWeighting(), (40, 80, 160, 320), (2, 4, 2), num_outputs)


def lite_hrnet_30(num_outputs: int = 17) -> NetworkSpec:
    """Lite-HRNet-30: conditional channel weighting, 3 / 8 / 3 units (arXiv 2104.06403, table 1)."""
    return _lite(ConditionalChannelWeighting(), (40, 80, 160, 320), (3, 8, 3), num_outputs)


def naive_lite_hrnet_18(num_outputs: int = 17) -> NetworkSpec:
    """Naive Lite-HRNet-18: shuffle blocks at 3/4 of the width (arXiv 2104.06403, table 6)."""
    return _lite(Conv1x1Shuffle(), (30, 60, 120, 240), (2, 4, 2), num_outputs)


def wider_naive_lite_hrnet_18(num_outputs: int = 17) -> NetworkSpec:
    """Wider naive Lite-HRNet-18: shuffle blocks at full width (arXiv 2104.06403, table 6)."""
    return _lite(Conv1x1Shuffle(), (40, 80, 160, 320), (2, 4, 2), num_outputs)


def small_hrnet_w16(num_outputs: int = 17) -> NetworkSpec:
    """Small HRNet-W16: HRNet with less width and depth, the paper's baseline (table 6)."""
    stage = StageSpec(transition=BottleneckTransition(width=128))
    return _hrnet(stage, 16, (1, 1, 1), 2, num_outputs)


def hrnet_w32(num_outputs: int = 17) -> NetworkSpec:
    """HRNet-W32 for key points (arXiv 1902.09212)."""
    return _hrnet(_hrnet_stage_1(), 32, (1, 4, 3), 4, num_outputs)


def hrnet_w48(num_outputs: int = 17) -> NetworkSpec:
    """HRNet-W48 for key points (arXiv 1902.09212)."""
    return _hrnet(_hrnet_stage_1(), 48, (1, 4, 3), 4, num_outputs)


def mobilenet_v2(num_outputs: int = 17) -> NetworkSpec:
    """MobileNetV2 1x with three deconvolutions (arXiv 1801.04381, head of arXiv 1804.06208)."""
    rows = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    stages = [
        _single(
            InvertedResidualTransition(width=width, expand_ratio=expand, stride=stride),
            InvertedResidual(),
            num_blocks - 1,
        )
        for expand, width, num_blocks, stride in rows
    ]
    last = StageSpec(transition=PointwiseTransition(width=1280, act="relu6"))
    return NetworkSpec(
        stem=MobileNetV2Stem(),
        stages=(*stages, last),
        aggregator=NoAggregator(),
        head=DeconvHeatmapHead(num_outputs=num_outputs),
    )


def shufflenet_v2(num_outputs: int = 17) -> NetworkSpec:
    """ShuffleNetV2 1x with three deconvolutions (arXiv 1807.11164, head of arXiv 1804.06208)."""
    stages = [
        _single(ShuffleUnitTransition(width=width), Conv1x1Shuffle(), num_blocks - 1)
        for width, num_blocks in ((116, 4), (232, 8), (464, 4))
    ]
    last = StageSpec(transition=PointwiseTransition(width=1024))
    return NetworkSpec(
        stem=ShuffleNetV2Stem(),
        stages=(*stages, last),
        aggregator=NoAggregator(),
        head=DeconvHeatmapHead(num_outputs=num_outputs),
    )


def lite_hrnet_18_seg(num_outputs: int = 19) -> NetworkSpec:
    """Lite-HRNet-18 for segmentation: iterative aggregator, all branches concatenated."""
    return _lite_segmentation(lite_hrnet_18(), num_outputs)


def lite_hrnet_30_seg(num_outputs: int = 19) -> NetworkSpec:
    """Lite-HRNet-30 for segmentation: iterative aggregator, all branches concatenated."""
    return _lite_segmentation(lite_hrnet_30(), num_outputs)


def naive_lite_hrnet_18_seg(num_outputs: int = 19) -> NetworkSpec:
    """Naive Lite-HRNet-18 for segmentation: iterative aggregator, all branches concatenated."""
    return _lite_segmentation(naive_lite_hrnet_18(), num_outputs)


def wider_naive_lite_hrnet_18_seg(num_outputs: int = 19) -> NetworkSpec:
    """Wider naive Lite-HRNet-18 for segmentation: iterative aggregator, all branches."""
    return _lite_segmentation(wider_naive_lite_hrnet_18(), num_outputs)


def small_hrnet_w16_seg(num_outputs: int = 19) -> NetworkSpec:
    """HRNetV2-W18-Small-v1, whose widths are 16 to 128, for segmentation (arXiv 1904.04514)."""
    return _hrnet_segmentation(small_hrnet_w16(), num_outputs)


def hrnet_w32_seg(num_outputs: int = 19) -> NetworkSpec:
    """HRNet-W32 with HRNetV2's head for segmentation (arXiv 1904.04514)."""
    return _hrnet_segmentation(hrnet_w32(), num_outputs)


def hrnet_w48_seg(num_outputs: int = 19) -> NetworkSpec:
    """HRNetV2-W48 for segmentation (arXiv 1904.04514)."""
    return _hrnet_segmentation(hrnet_w48(), num_outputs)


@dataclass(frozen=True)
class Preset:
    """A published network, or a published backbone with a head for another task.

    Attributes:
        name: How the command line and study files call it.
        make: Returns its spec for a number of outputs.
        task: The task that it was made for, by name; it works for others of the same sort.
    """

    name: str
    make: Callable[[int], NetworkSpec]
    task: str = "coco_keypoints"

    @property
    def summary(self) -> str:
        """What it is, with its source."""
        return (self.make.__doc__ or "").splitlines()[0]


PRESETS: dict[str, Preset] = {
    make.__name__: Preset(make.__name__, make, task)
    for task, makes in (
        (
            "coco_keypoints",
            (
                lite_hrnet_18,
                lite_hrnet_30,
                naive_lite_hrnet_18,
                wider_naive_lite_hrnet_18,
                small_hrnet_w16,
                hrnet_w32,
                hrnet_w48,
                mobilenet_v2,
                shufflenet_v2,
            ),
        ),
        (
            "cityscapes",
            (
                lite_hrnet_18_seg,
                lite_hrnet_30_seg,
                naive_lite_hrnet_18_seg,
                wider_naive_lite_hrnet_18_seg,
                small_hrnet_w16_seg,
                hrnet_w32_seg,
                hrnet_w48_seg,
            ),
        ),
    )
    for make in makes
}
"""All presets by name."""


def _lite(
    block: BlockSpec, widths: Sequence[int], num_units: Sequence[int], num_outputs: int
) -> NetworkSpec:
    stages = tuple(
        StageSpec(
            transition=SeparableTransition(widths=tuple(widths[: index + 2])),
            units=(_unit(block, index + 2, 2, ReleasedFusion()),) * count,
        )
        for index, count in enumerate(num_units)
    )
    return NetworkSpec(
        stem=LiteStem(),
        stages=stages,
        aggregator=IterativeAggregator(),
        head=HeatmapHead(num_outputs=num_outputs),
    )


def _hrnet(
    first: StageSpec, width: int, num_units: Sequence[int], depth: int, num_outputs: int
) -> NetworkSpec:
    stages = [first]
    for index, count in enumerate(num_units):
        num_branches = index + 2
        units = [_unit(Basic(), num_branches, depth, SumFusion(paths="dense"))] * count
        if index == len(num_units) - 1:
            finest = SumFusion(paths="dense", outputs="finest")
            units[-1] = _unit(Basic(), num_branches, depth, finest)
        widths = tuple(width * 2**branch for branch in range(num_branches))
        stages.append(StageSpec(transition=DenseTransition(widths=widths), units=tuple(units)))
    return NetworkSpec(
        stem=HRNetStem(),
        stages=tuple(stages),
        aggregator=NoAggregator(),
        head=HeatmapHead(num_outputs=num_outputs),
    )


def _lite_segmentation(backbone: NetworkSpec, num_outputs: int) -> NetworkSpec:
    # The paper's own head is unknown; of what others put there, this one keeps all branches. It
    # mixes them before upsampling: after it, the head alone would cost more than the network.
    head = ConcatSegmentationHead(num_outputs=num_outputs, mix="before")
    return dataclasses.replace(backbone, head=head)


def _hrnet_segmentation(backbone: NetworkSpec, num_outputs: int) -> NetworkSpec:
    """HRNetV2: the last fusion puts out all branches, and the head joins them."""
    *stages, last = backbone.stages
    *units, unit = last.units
    unit = dataclasses.replace(unit, fusion=SumFusion(paths="dense"))
    stages.append(dataclasses.replace(last, units=(*units, unit)))
    head = ConcatSegmentationHead(num_outputs=num_outputs)
    return dataclasses.replace(backbone, stages=tuple(stages), head=head)


def _hrnet_stage_1() -> StageSpec:
    return _single(BottleneckTransition(width=256), Bottleneck(), 3)


def _unit(block: BlockSpec, num_branches: int, depth: int, fusion: LayerSpec) -> UnitSpec:
    group = GroupSpec(branches=tuple(range(num_branches)), block=block, depth=depth)
    return UnitSpec(body=(group,), fusion=fusion)


def _single(transition: LayerSpec, block: BlockSpec, depth: int) -> StageSpec:
    """A stage over one branch: its transition holds the first block, one unit the others."""
    units = (_unit(block, 1, depth, NoFusion()),) if depth else ()
    return StageSpec(transition=transition, units=units)
