"""The universal inverted bottleneck of MobileNetV4."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from blocks import (
    BranchBlock,
    BranchShape,
    Chain,
    Shape,
    SpecError,
    Tape,
    choice,
    depthwise,
    pointwise,
    register_block,
)
from blocks._carried import CarriedModule
from blocks._parts import odd_kernel_problems

_KERNELS = (0, 3, 5)


@register_block("uib")
@dataclass(frozen=True, kw_only=True)
class UniversalInvertedBottleneck(BranchBlock):
    """Inverted bottleneck with optional depthwise convolutions before and after it widens.

    With s and m the kernels of the two (0 for none) and e the ratio, it costs
    (s² + m²·e)·C + 2·e·C² multiply-accumulates at every position. Both, one or none of them make
    the paper's four kinds: ExtraDW (s and m), ConvNext-like (s alone), inverted bottleneck (m
    alone), feed-forward network (neither).

    Source: Qin et al., MobileNetV4 (arXiv 2404.10518), section 3 and figure 4, at stride 1. As in
    the released code, no activation follows the first depthwise convolution and the last 1x1; its
    layer scale, which the paper's pure convolutional networks do not use, is left out.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    expand_ratio: int = choice(4, among=(2, 3, 4, 6), help="how much wider the middle is")
    start_kernel: int = choice(3, among=_KERNELS, help="depthwise kernel before, 0 for none")
    middle_kernel: int = choice(
        3, among=_KERNELS, help="depthwise kernel in the middle, 0 for none"
    )

    def __post_init__(self) -> None:
        """Checks that the kernels are odd or 0.

        Raises:
            SpecError: If one is not.
        """
        super().__post_init__()
        problems = odd_kernel_problems("start_kernel", self.start_kernel)
        problems += odd_kernel_problems("middle_kernel", self.middle_kernel)
        if problems:
            raise SpecError(problems)

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the block."""
        return CarriedModule(self._chain(shape.channels).build())

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the block down."""
        return tape.add(self._chain(shape.channels).trace(tape.at("convs"), x), x)

    def _chain(self, channels: int) -> Chain:
        hidden = channels * self.expand_ratio
        start, middle = self.start_kernel, self.middle_kernel
        return Chain(
            (
                *((depthwise(channels, kernel=start),) if start else ()),
                pointwise(channels, hidden, "relu"),
                *((depthwise(hidden, kernel=middle, act="relu"),) if middle else ()),
                pointwise(hidden, channels),
            )
        )
