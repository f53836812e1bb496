"""Checkpoints in the layout of the published code, made from its architecture alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

Rows = Iterator[tuple[str, tuple[int, ...]]]

UNITS = {"lite_hrnet_18": (2, 4, 2), "lite_hrnet_30": (3, 8, 3)}
"""Units of the three stages; the naive networks have those of lite_hrnet_18."""

STEM = 32
DEPTH = 2
WIDTHS = (40, 80, 160, 320)


def published_checkpoint(network: str, num_outputs: int = 17) -> dict[str, Tensor]:
    """Returns a state dict with the names and shapes of a published checkpoint, seeded values."""
    generator = torch.Generator().manual_seed(7)
    widths = (30, 60, 120, 240) if network == "naive_lite_hrnet_18" else WIDTHS
    units = UNITS.get(network, UNITS["lite_hrnet_18"])
    state = {}
    for name, shape in _tensors(widths, units, num_outputs, naive="naive" in network):
        value = torch.rand(shape, generator=generator)
        if len(shape) > 1:
            # Kernels neither blow up nor die out over many layers.
            value = (value - 0.5) / math.sqrt(math.prod(shape[1:]))
        state[name] = torch.tensor(1000) if name.endswith("num_batches_tracked") else value + 0.01
    return state


def _tensors(
    widths: tuple[int, ...], units: tuple[int, ...], num_outputs: int, *, naive: bool
) -> Rows:
    half = STEM // 2
    yield from _conv("backbone.stem.conv1", STEM, 3, 3)
    yield from _separable("backbone.stem.branch1", half, half)
    yield from _conv("backbone.stem.expand_conv", STEM, half, 1)
    yield from _conv("backbone.stem.depthwise_conv", STEM, 1, 3)
    yield from _conv("backbone.stem.linear_conv", half, STEM, 1)
    before = (STEM,)
    for stage, num_units in enumerate(units):
        now = widths[: stage + 2]
        yield from _transition(f"backbone.transition{stage}", before, now)
        for unit in range(num_units):
            prefix = f"backbone.stage{stage}.{unit}"
            blocks = _shuffle_blocks if naive else _weightings
            yield from blocks(f"{prefix}.layers", now)
            yield from _fusion(f"{prefix}.fuse_layers", now)
        before = now
    for index, source in enumerate(reversed(widths)):
        target = widths[max(len(widths) - 2 - index, 0)]
        prefix = f"backbone.head_layer.projects.{index}"
        yield from _conv(f"{prefix}.depthwise_conv", source, 1, 3)
        yield from _conv(f"{prefix}.pointwise_conv", target, source, 1)
    yield "keypoint_head.final_layer.weight", (num_outputs, widths[0], 1, 1)
    yield "keypoint_head.final_layer.bias", (num_outputs,)


def _conv(prefix: str, outs: int, ins: int, kernel: int) -> Rows:
    yield f"{prefix}.conv.weight", (outs, ins, kernel, kernel)
    yield from _norm(f"{prefix}.bn", outs)


def _norm(prefix: str, channels: int) -> Rows:
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{prefix}.{leaf}", (channels,)
    yield f"{prefix}.num_batches_tracked", ()


def _separable(prefix: str, ins: int, outs: int) -> Rows:
    yield from _conv(f"{prefix}.0", ins, 1, 3)
    yield from _conv(f"{prefix}.1", outs, ins, 1)


def _plain(prefix: str, ins: int, outs: int) -> Rows:
    """A separable step in a bare sequence: its norms stand beside its convolutions."""
    yield f"{prefix}.0.weight", (ins, 1, 3, 3)
    yield from _norm(f"{prefix}.1", ins)
    yield f"{prefix}.2.weight", (outs, ins, 1, 1)
    yield from _norm(f"{prefix}.3", outs)


def _transition(prefix: str, before: tuple[int, ...], now: tuple[int, ...]) -> Rows:
    for branch, width in enumerate(now):
        if branch >= len(before):
            yield from _plain(f"{prefix}.{branch}.0", before[-1], width)
        elif before[branch] != width:
            yield from _plain(f"{prefix}.{branch}", before[branch], width)


def _weightings(prefix: str, widths: tuple[int, ...]) -> Rows:
    for depth in range(DEPTH):
        yield from _weighting(f"{prefix}.{depth}", widths)


def _weighting(prefix: str, widths: tuple[int, ...]) -> Rows:
    halves = [width // 2 for width in widths]
    total = sum(halves)
    yield from _conv(f"{prefix}.cross_resolution_weighting.conv1", total // 8, total, 1)
    yield from _conv(f"{prefix}.cross_resolution_weighting.conv2", total, total // 8, 1)
    for branch, half in enumerate(halves):
        yield from _conv(f"{prefix}.depthwise_convs.{branch}", half, 1, 3)
    for branch, half in enumerate(halves):
        gate = f"{prefix}.spatial_weighting.{branch}"
        yield f"{gate}.conv1.conv.weight", (half // 4, half, 1, 1)
        yield f"{gate}.conv1.conv.bias", (half // 4,)
        yield f"{gate}.conv2.conv.weight", (half, half // 4, 1, 1)
        yield f"{gate}.conv2.conv.bias", (half,)


def _shuffle_blocks(prefix: str, widths: tuple[int, ...]) -> Rows:
    """Counted by branch first there, by depth second."""
    for branch, width in enumerate(widths):
        half = width // 2
        for depth in range(DEPTH):
            path = f"{prefix}.{branch}.{depth}.branch2"
            yield from _conv(f"{path}.0", half, half, 1)
            yield from _conv(f"{path}.1", half, 1, 3)
            yield from _conv(f"{path}.2", half, half, 1)


def _fusion(prefix: str, widths: tuple[int, ...]) -> Rows:
    for i, target in enumerate(widths):
        for j, source in enumerate(widths):
            path = f"{prefix}.{i}.{j}"
            if j > i:
                yield f"{path}.0.weight", (target, source, 1, 1)
                yield from _norm(f"{path}.1", target)
            for step in range(i - j):
                outs = target if step == i - j - 1 else source
                yield from _plain(f"{path}.{step}", source, outs)
