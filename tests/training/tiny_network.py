"""A Lite-HRNet of two branches, and a task small enough for it."""

from __future__ import annotations

from blocks import ImageSize
from blocks.ccw import ConditionalChannelWeighting
from networks import GroupSpec, NetworkSpec, StageSpec, UnitSpec
from networks.aggregators import IterativeAggregator
from networks.fusions import ReleasedFusion
from networks.heads import HeatmapHead
from networks.stems import LiteStem
from networks.transitions import SeparableTransition
from tasks import SyntheticKeypoints

SIZE = ImageSize(64, 64)
TASK = SyntheticKeypoints(num_train=32, num_val=15)


def tiny_network(width: int = 8, num_outputs: int = 17) -> NetworkSpec:
    unit = UnitSpec(
        body=(GroupSpec(branches=(0, 1), block=ConditionalChannelWeighting(), depth=1),),
        fusion=ReleasedFusion(),
    )
    transition = SeparableTransition(widths=(width, 2 * width))
    return NetworkSpec(
        stem=LiteStem(channels=8),
        stages=(StageSpec(transition=transition, units=(unit,)),),
        aggregator=IterativeAggregator(),
        head=HeatmapHead(num_outputs=num_outputs),
    )
