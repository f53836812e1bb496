"""The convolutions of MobileNetV2's inverted residual, shared by a block and a transition."""

from __future__ import annotations

from ._parts import Chain, depthwise, pointwise


def inverted_bottleneck(
    in_channels: int, out_channels: int, *, expand_ratio: int, stride: int = 1
) -> Chain:
    """Returns the widening, depthwise and narrowing convolutions; no widening at a ratio of 1."""
    hidden = in_channels * expand_ratio
    widen = (pointwise(in_channels, hidden, "relu6"),) if expand_ratio > 1 else ()
    return Chain(
        (
            *widen,
            depthwise(hidden, stride=stride, act="relu6"),
            pointwise(hidden, out_channels),
        )
    )
