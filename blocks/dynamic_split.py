"""Dynamic split convolution, the depthwise part of Dite-HRNet's block."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from blocks import (
    BranchBlock,
    BranchShape,
    Chain,
    Conv,
    Problem,
    Shape,
    Tape,
    choice,
    depthwise,
    even_channels_problems,
    interleave,
    pointwise,
    register_block,
)

_FINEST_STRIDE = 4
_REDUCE_RATIO = 4


@register_block("dynamic_split")
@dataclass(frozen=True, kw_only=True)
class DynamicSplit(BranchBlock):
    """Depthwise filters of growing sizes, mixed anew for every image (Dite-HRNet).

    Half of the channels pass untouched. The other half is split into G groups; group g has a
    depthwise convolution with a kernel of 3 + 2·g, whose filters are a sum of K learned ones,
    weighted by numbers in (0, 1) that the group's channel means decide. The groups, and then the
    halves, are shuffled. Fine branches have many filters in few groups, coarse ones few in many:
    at stride s, G = s/8 between 1 and ``max_groups``, and K = ``num_kernels``/G; at the default
    K = 4, 4, 2, 1 and G = 1, 1, 2, 4 at strides 4 to 32. With c = C/(2·G) and k its kernel, a
    group costs c·k² multiply-accumulates at every position, and where K > 1
    c·(c//4) + (c//4)·K + K·c·k² once.

    Source: Li et al., Dite-HRNet (arXiv 2204.10762), dynamic split convolution; sizes, reduction
    and sigmoid from the released code. The block there has context modelling before and after it,
    which is left out. As there, a group has its own attention. Where G does not divide the
    channels, the largest number that divides both takes its place (the released code refuses
    such widths).

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out, C_b even.
    """

    max_groups: int = choice(4, among=(1, 2, 4), help="groups on the coarsest branch")
    num_kernels: int = choice(4, among=(1, 2, 4), help="filters that are mixed on the finest one")

    def branch_problems(self, shape: BranchShape) -> tuple[Problem, ...]:
        """Asks for halves."""
        return even_channels_problems(shape.channels)

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the block."""
        return _SplitUnit([part.build() for part in self._parts(shape)])

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the block down."""
        parts = self._parts(shape)
        group = (x[0] // 2 // len(parts), *x[1:])
        for index, part in enumerate(parts):
            part.trace(tape.at(f"groups.{index}"), group)
        if len(parts) > 1:
            tape.interleave(*(group,) * len(parts))
        half = (x[0] // 2, *x[1:])
        return tape.interleave(half, half)

    def _parts(self, shape: BranchShape) -> tuple[_Filter, ...]:
        wanted = min(max(shape.stride // (2 * _FINEST_STRIDE), 1), self.max_groups)
        num_filters = max(1, self.num_kernels // wanted)
        half = shape.channels // 2
        num_groups = math.gcd(wanted, half)
        return tuple(
            _Filter(half // num_groups, 3 + 2 * index, num_filters) for index in range(num_groups)
        )


@dataclass(frozen=True)
class _Filter:
    """A depthwise convolution with batch norm whose filters are a mixture."""

    channels: int
    kernel: int
    num_filters: int

    def build(self) -> nn.Module:
        if self.num_filters == 1:
            return depthwise(self.channels, kernel=self.kernel).build()
        convs = self._attention().build()
        return nn.Sequential(
            _MixedFilters(self.channels, self.kernel, self.num_filters, convs),
            nn.BatchNorm2d(self.channels),
        )

    def trace(self, tape: Tape, x: Shape) -> Shape:
        if self.num_filters == 1:
            return depthwise(self.channels, kernel=self.kernel).trace(tape, x)
        mixed = tape.at("0")
        point = self._attention().trace(mixed.at("convs"), mixed.at("pool").pool_to_point(x))
        mixed.mix(point[:1], (self.num_filters, self.channels * self.kernel**2))
        return tape.at("1").norm(mixed.conv_by(x, self.kernel))

    def _attention(self) -> Chain:
        hidden = max(1, self.channels // _REDUCE_RATIO)
        decide = Conv(
            in_channels=hidden,
            out_channels=self.num_filters,
            bias=True,
            norm=False,
            act="sigmoid",
        )
        return Chain((pointwise(self.channels, hidden, "relu"), decide))


class _SplitUnit(nn.Module):
    def __init__(self, groups: list[nn.Module]) -> None:
        super().__init__()
        self.groups = nn.ModuleList(groups)

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, dim=1)
        parts = worked.chunk(len(self.groups), dim=1)
        filtered = [group(part) for group, part in zip(self.groups, parts, strict=True)]
        return interleave(kept, interleave(*filtered) if len(filtered) > 1 else filtered[0])


class _MixedFilters(nn.Module):
    """A depthwise convolution with other filters for every image of the batch."""

    def __init__(self, channels: int, kernel: int, num_filters: int, convs: nn.Module) -> None:
        super().__init__()
        self.kernel = kernel
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.convs = convs
        self.weight = nn.Parameter(torch.empty(num_filters, channels * kernel**2))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws each filter as ``nn.Conv2d`` draws a depthwise one."""
        nn.init.uniform_(self.weight, -1 / self.kernel, 1 / self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        num_images, channels, height, width = x.shape
        shares = self.convs(self.pool(x)).flatten(1)
        filters = torch.matmul(shares, self.weight).view(-1, 1, self.kernel, self.kernel)
        # The images of a batch become groups of channels, each with its own filters.
        y = F.conv2d(
            x.reshape(1, num_images * channels, height, width),
            filters,
            padding=self.kernel // 2,
            groups=num_images * channels,
        )
        return y.view(num_images, channels, height, width)
