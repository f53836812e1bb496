"""What a block's documentation says that it costs is what is counted."""

from __future__ import annotations

import pytest

from analysis.conventions import macs
from blocks import BlockSpec, BranchShape, ImageSize
from blocks.basic import Basic
from blocks.dynamic_split import DynamicSplit
from blocks.ghost import Ghost
from blocks.mobileone import MobileOne
from blocks.partial_conv import PartialConv
from blocks.repvit import RepViT
from blocks.split import Split
from blocks.star import Star
from blocks.susa import UnidimensionalAttention
from blocks.uib import UniversalInvertedBottleneck

C, H, W = 24, 16, 12
P = H * W

CASES: list[tuple[BlockSpec, int]] = [
    (MobileOne(), ((9 + 1) * C + C * C) * P),
    (MobileOne(num_convs=4), ((9 * 4 + 1) * C + 4 * C * C) * P),
    (UniversalInvertedBottleneck(), ((9 + 9 * 4) * C + 2 * 4 * C * C) * P),
    (
        UniversalInvertedBottleneck(expand_ratio=2, start_kernel=0, middle_kernel=5),
        (25 * 2 * C + 2 * 2 * C * C) * P,
    ),
    (
        UniversalInvertedBottleneck(expand_ratio=3, start_kernel=0, middle_kernel=0),
        2 * 3 * C * C * P,
    ),
    (Ghost(), (2 * 3 * C * C + 9 * 4 * C) // 2 * P),
    (Ghost(expand_ratio=2, ratio=3), (2 * 2 * C * C + 9 * 2 * 3 * C) // 3 * P),
    (PartialConv(), (9 * 6 * 6 + 2 * 2 * C * C) * P),
    (PartialConv(divisor=8, expand_ratio=4), (9 * 3 * 3 + 2 * 4 * C * C) * P),
    (Star(), (2 * 49 * C + 3 * 4 * C * C) * P),
    (Star(expand_ratio=2, kernel=3), (2 * 9 * C + 3 * 2 * C * C) * P),
    (RepViT(), (10 * C + 2 * 2 * C * C) * P),
    (RepViT(gate=True), (10 * C + 2 * 2 * C * C) * P + 2 * C * 6),
    (UnidimensionalAttention(), 11 * 12 * P + (12 * 12 + 12) * (H + W)),
    (Split(block=Basic()), 18 * 12 * 12 * P),
    (Split(block=Basic(), divisor=4), 18 * 6 * 6 * P),
]


@pytest.mark.parametrize(("block", "counted"), CASES, ids=lambda case: str(case)[:60])
def test_documented_cost(block: BlockSpec, counted: int):
    ops = block.ops((BranchShape(C, 4),), ImageSize(4 * H, 4 * W))
    assert macs(ops) == counted


def _mixed(channels: int, kernel: int, num_filters: int, positions: int) -> int:
    hidden = channels // 4
    once = channels * hidden + hidden * num_filters + num_filters * channels * kernel**2
    return channels * kernel**2 * positions + (once if num_filters > 1 else 0)


@pytest.mark.parametrize(
    ("stride", "filters", "kernels"),
    [(4, 4, (3,)), (8, 4, (3,)), (16, 2, (3, 5)), (32, 1, (3, 5, 7, 9))],
)
def test_dynamic_split_has_the_groups_and_filters_of_the_released_code(stride, filters, kernels):
    size = ImageSize(8 * stride, 4 * stride)
    ops = DynamicSplit().ops((BranchShape(64, stride),), size)
    channels = 32 // len(kernels)
    assert macs(ops) == sum(_mixed(channels, kernel, filters, 32) for kernel in kernels)


def test_dynamic_split_takes_as_many_groups_as_divide_the_channels():
    def kernels(channels: int) -> set[int]:
        block = DynamicSplit(num_kernels=1)
        ops = block.ops((BranchShape(channels, 32),), ImageSize(64, 64))
        return {op.weights[0][-1] for op in ops if op.kind == "convolution"}

    assert kernels(24) == {3, 5, 7, 9}
    assert kernels(12) == {3, 5}
    assert kernels(10) == {3}
