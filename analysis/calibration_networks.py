"""Random networks of realistic sizes, from which a latency predictor learns.

They are made of every registered block and fusion, with the widths, depths and inputs that people
use. A few are as small as one unit, so that fixed costs show; most are whole networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from analysis.cost import measure_cost
from blocks import (
    SLOTS,
    BlockSpec,
    ImageSize,
    LayerSpec,
    Slot,
    SpecError,
    fields_of,
    is_block_field,
)
from networks import PRESETS, GroupSpec, NetworkSpec, StageSpec, UnitSpec
from networks.aggregators import IterativeAggregator, NoAggregator
from networks.fusions import NoFusion
from networks.heads import DeconvHeatmapHead, Head, HeatmapHead
from networks.segmentation_heads import ConcatSegmentationHead
from networks.stems import HRNetStem, LiteStem, MobileNetV2Stem, ShuffleNetV2Stem
from networks.transitions import DenseTransition, InvertedResidualTransition, SeparableTransition

_SIZES = ("256x192", "256x192", "256x192", "128x96", "192x160", "256x256")
_LARGEST_MACS = 2_000_000_000
"""A pass over more takes long, and is bound by what smaller ones are bound by."""
_SINGLE_SHARE = 0.15
_OTHER_BLOCK_SHARE = 0.25
_DENSE_SHARE = 0.25
_AGGREGATED_SHARE = 0.5
_DECONV_SHARE = 0.5
_SEGMENTATION_SHARE = 0.1
_NUM_OUTPUTS = 17
_STEMS: tuple[LayerSpec, ...] = (
    *(LiteStem(channels=channels) for channels in (16, 24, 32, 48)),
    *(HRNetStem(channels=channels) for channels in (32, 64)),
    *(MobileNetV2Stem(channels=channels) for channels in (16, 32)),
    *(ShuffleNetV2Stem(channels=channels) for channels in (16, 24)),
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DrawnNetwork:
    """A network that is measured, drawn at random but for ``ANCHOR``.

    Attributes:
        spec: The network.
        size: The image's size.
        blocks: The kinds of its blocks.
    """

    spec: NetworkSpec
    size: ImageSize
    blocks: tuple[str, ...]


ANCHOR = DrawnNetwork(
    spec=PRESETS["lite_hrnet_18"].make(_NUM_OUTPUTS), size=ImageSize(256, 192), blocks=("ccw",)
)
"""What takes turns among all others and tells how quick the machine is for networks meanwhile.

It is neither so small that the nearest cache holds all of it nor so large that none does.
"""


def draw_networks(seed: int, blocks: Sequence[str] = ()) -> Iterator[DrawnNetwork]:
    """Yields random networks without end, one block after the other in turns.

    Args:
        seed: What they are drawn from.
        blocks: The kinds of blocks that they have; none stands for all that are registered.
    """
    rng = np.random.default_rng(seed)
    names = sorted(blocks) or sorted(entry.name for entry in SLOTS[Slot.BLOCK])
    while True:
        for index in rng.permutation(len(names)):
            yield _draw_until_it_fits(rng, names[int(index)], names)


def _draw_until_it_fits(
    rng: np.random.Generator, block: str, others: Sequence[str]
) -> DrawnNetwork:
    while True:
        size = ImageSize.parse(_one_of(rng, _SIZES))
        kinds = [block]
        if rng.random() < _OTHER_BLOCK_SHARE:
            kinds.append(_one_of(rng, others))
        try:
            drawn = [_block(rng, kind) for kind in kinds]
            spec = _network(rng, drawn)
            macs = measure_cost(spec, size).macs
        except SpecError:
            continue
        if macs <= _LARGEST_MACS:
            return DrawnNetwork(spec=spec, size=size, blocks=tuple(dict.fromkeys(kinds)))


def _network(rng: np.random.Generator, blocks: Sequence[BlockSpec]) -> NetworkSpec:
    stem = _stem(rng)
    most_branches = 1 if rng.random() < _SINGLE_SHARE else int(rng.integers(2, 5))
    widths = _widths(rng, most_branches)
    if most_branches == 1:
        stages = tuple(_single_stages(rng, blocks, widths[0]))
    else:
        stages = tuple(_stages(rng, blocks, widths))
    aggregator = IterativeAggregator() if rng.random() < _AGGREGATED_SHARE else NoAggregator()
    return NetworkSpec(
        stem=stem, stages=stages, aggregator=aggregator, head=_head(rng, most_branches)
    )


def _head(rng: np.random.Generator, num_branches: int) -> Head:
    """Returns a head; networks of one branch end coarse, so that half of them get a finer map."""
    if num_branches == 1 and rng.random() < _DECONV_SHARE:
        return DeconvHeatmapHead(
            num_outputs=_NUM_OUTPUTS,
            num_deconvs=_one_of(rng, (1, 2, 3)),
            channels=_one_of(rng, (64, 128, 256)),
        )
    if num_branches > 1 and rng.random() < _SEGMENTATION_SHARE:
        return ConcatSegmentationHead(num_outputs=_NUM_OUTPUTS, mix="before")
    return HeatmapHead(num_outputs=_NUM_OUTPUTS)


def _stem(rng: np.random.Generator) -> LayerSpec:
    return _one_of(rng, _STEMS)


def _widths(rng: np.random.Generator, count: int) -> tuple[int, ...]:
    """Returns the widths of branches, which about double from one to the next."""
    step = int(_one_of(rng, (4, 8)))
    width = float(rng.integers(16, 65))
    widths = []
    for _ in range(count):
        widths.append(max(step, step * round(width / step)))
        width *= rng.uniform(1.4, 2.2)
    return tuple(widths)


def _single_stages(
    rng: np.random.Generator, blocks: Sequence[BlockSpec], width: int
) -> Iterator[StageSpec]:
    for index in range(int(rng.integers(1, 4))):
        yield StageSpec(
            transition=InvertedResidualTransition(
                width=width * 2**index,
                expand_ratio=int(rng.integers(2, 7)),
                stride=1 if index == 0 else 2,
            ),
            units=(_unit(rng, blocks, 1, NoFusion()),),
        )


def _stages(
    rng: np.random.Generator, blocks: Sequence[BlockSpec], widths: tuple[int, ...]
) -> Iterator[StageSpec]:
    is_dense = rng.random() < _DENSE_SHARE
    fusion = _fusion(rng, "dense" if is_dense else "separable")
    first = int(rng.integers(2, len(widths) + 1))
    for count in range(first, len(widths) + 1):
        cls = DenseTransition if is_dense else SeparableTransition
        yield StageSpec(
            transition=cls(widths=widths[:count]),
            units=(_unit(rng, blocks, count, fusion),) * int(rng.integers(1, 4)),
        )


def _unit(
    rng: np.random.Generator, blocks: Sequence[BlockSpec], count: int, fusion: LayerSpec
) -> UnitSpec:
    depth = int(rng.integers(1, 4))
    branches = tuple(range(count))
    cut = int(rng.integers(1, count)) if len(blocks) > 1 and count > 1 else count
    groups = [
        GroupSpec(branches=part, block=block, depth=depth)
        for part, block in zip(
            (branches[:cut], branches[cut:]), (blocks[0], blocks[-1]), strict=True
        )
        if part
    ]
    return UnitSpec(body=tuple(groups), fusion=fusion)


def _fusion(rng: np.random.Generator, paths: str) -> LayerSpec:
    entries = [entry for entry in SLOTS[Slot.FUSION] if entry.name != "none"]
    cls = entries[int(rng.integers(0, len(entries)))].cls
    values = {info.name: paths for info in fields_of(cls) if info.name == "paths"}
    return cls(**values)


def _block(rng: np.random.Generator, kind: str) -> BlockSpec:
    """Returns a block of a kind, every field at its default or at a declared value."""
    (cls,) = [entry.cls for entry in SLOTS[Slot.BLOCK] if entry.name == kind]
    values = {
        info.name: _one_of(rng, (info.default, *info.among))
        for info in fields_of(cls)
        if not is_block_field(info)
    }
    made = cls(**values)
    assert isinstance(made, BlockSpec)
    return made


def _one_of(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(0, len(choices)))]
