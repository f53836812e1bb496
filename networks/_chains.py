"""The two ways to change a branch's width or resolution: separable and dense convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from blocks import Activation, BranchShape, Chain, Conv, conv3x3, depthwise, pointwise

PathKind = Literal["separable", "dense"]


def separable_step(
    in_channels: int, out_channels: int, stride: int, act: Activation | None
) -> tuple[Conv, ...]:
    """Returns a depthwise 3x3 convolution and a pointwise one that carries the activation."""
    return (depthwise(in_channels, stride=stride), pointwise(in_channels, out_channels, act))


def dense_step(
    in_channels: int, out_channels: int, stride: int, act: Activation | None
) -> tuple[Conv, ...]:
    """Returns a dense 3x3 convolution."""
    return (conv3x3(in_channels, out_channels, stride=stride, act=act),)


def pointwise_step(
    in_channels: int, out_channels: int, stride: int, act: Activation | None
) -> tuple[Conv, ...]:
    """Returns a pointwise convolution; it has no stride."""
    assert stride == 1
    return (pointwise(in_channels, out_channels, act),)


def low_rank_step(step: Step, ratio: int) -> Step:
    """Returns a step whose last convolution leads over fewer channels.

    A convolution from C to D channels becomes one to min(C, D) // ratio channels, without norm,
    and a pointwise one from there to D.

    Args:
        step: A step.
        ratio: How much fewer channels are in the middle.
    """

    def narrowed(
        in_channels: int, out_channels: int, stride: int, act: Activation | None
    ) -> tuple[Conv, ...]:
        *first, last = step(in_channels, out_channels, stride, act)
        rank = max(1, min(in_channels, out_channels) // ratio)
        narrow = replace(last, out_channels=rank, norm=False, act=None)
        return (*first, narrow, pointwise(rank, out_channels, act))

    return narrowed


Step = Callable[[int, int, int, Activation | None], tuple[Conv, ...]]

STEPS: dict[str, Step] = {"dense": dense_step, "separable": separable_step}
"""The steps by the name that specs use."""


def down_chain(
    step: Step, source: BranchShape, target: BranchShape, last_act: Activation | None
) -> Chain:
    """Returns halving steps from one branch to a coarser one.

    Every step but the last keeps the channels and ends with ReLU; the last changes the channels.

    Args:
        step: How one halving is done.
        source: The finer branch.
        target: The coarser branch.
        last_act: The activation after the last step.
    """
    num_steps = (target.stride // source.stride).bit_length() - 1
    convs: tuple[Conv, ...] = ()
    for _ in range(num_steps - 1):
        convs += step(source.channels, source.channels, 2, "relu")
    return Chain(convs + step(source.channels, target.channels, 2, last_act))
