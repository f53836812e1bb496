"""Spatially unidimensional self-attention, the block of X-HRNet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blocks import (
    BranchBlock,
    BranchShape,
    Conv,
    Problem,
    Shape,
    Tape,
    depthwise,
    even_channels_problems,
    interleave,
    pointwise,
    register_block,
)

_COLUMNS, _ROWS = 1, 2


@register_block("susa")
@dataclass(frozen=True, kw_only=True)
class UnidimensionalAttention(BranchBlock):
    """Shuffle block whose 1x1 convolutions are attention along rows and along columns (X-HRNet).

    Half of the channels pass untouched. The other half is weighted column by column, filtered by
    a depthwise 3x3 convolution, weighted row by row, and shuffled with the first. The weights of
    the columns come from a sum over each column in which every row has a softmax weight, that of
    its mean; a 1x1 convolution then works on a single line. With c = C/2, h rows and w columns,
    the block costs 11·c·h·w + (c² + c)·(h + w) multiply-accumulates.

    Source: Zhou et al., X-HRNet (arXiv 2310.08042), the serial arrangement of its unit. The
    released code also multiplies by a learned number for each row and column before it takes the
    means; those fit one largest image size (they end at 96 rows and 72 columns) and are left out.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out, C_b even.
    """

    def branch_problems(self, shape: BranchShape) -> tuple[Problem, ...]:
        """Asks for halves."""
        return even_channels_problems(shape.channels)

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the block."""
        half = shape.channels // 2
        return _AttentionUnit(
            nn.Sequential(
                _Attention(half, _COLUMNS), depthwise(half).build(), _Attention(half, _ROWS)
            )
        )

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the block down."""
        half = (shape.channels // 2, *x[1:])
        parts = tape.at("parts")
        _trace_attention(parts.at("0"), half, _COLUMNS)
        depthwise(half[0]).trace(parts.at("1"), half)
        _trace_attention(parts.at("2"), half, _ROWS)
        return tape.interleave(half, half)


def _scale(channels: int) -> Conv:
    return Conv(in_channels=channels, out_channels=channels, groups=channels)


def _trace_attention(tape: Tape, x: Shape, kept: int) -> Shape:
    channels, height, width = x
    if kept == _COLUMNS:
        query = _scale(channels).trace(tape.at("query"), tape.mean(x, 2))
        tape.softmax(query)
        tape.bmm((channels, 1, height), x)
        line = (channels, 1, width)
    else:
        query = _scale(channels).trace(tape.at("query"), tape.mean(x, 1))
        tape.softmax(query)
        tape.bmm(x, (channels, width, 1))
        line = (channels, height, 1)
    pointwise(channels, channels).trace(tape.at("value"), line)
    tape.at("norm").layer_norm(line[::-1])
    tape.at("act").act(line[::-1], "Sigmoid")
    return tape.mul(x, line)


class _AttentionUnit(nn.Module):
    """interleave(first half, parts(second half))."""

    def __init__(self, parts: nn.Module) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, dim=1)
        return interleave(kept, self.parts(worked))


class _Attention(nn.Module):
    """x times a weight for each of its columns, or rows, and channels."""

    def __init__(self, channels: int, kept: int) -> None:
        super().__init__()
        self.kept = kept
        self.query = _scale(channels).build()
        self.value = pointwise(channels, channels).build()
        self.norm = nn.LayerNorm(channels)
        self.act = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        gathered = self._over_rows(x) if self.kept == _COLUMNS else self._over_columns(x)
        line = self.value(gathered)
        # The layer norm is over the channels.
        weights: Tensor = self.act(self.norm(line.transpose(1, 3))).transpose(1, 3)
        return x * weights

    def _over_rows(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 1, W)."""
        query = self.query(x.mean(dim=3, keepdim=True)).softmax(dim=2)
        line = torch.bmm(query.flatten(0, 1).transpose(1, 2), x.flatten(0, 1))
        return line.view(*x.shape[:2], 1, -1)

    def _over_columns(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, 1)."""
        query = self.query(x.mean(dim=2, keepdim=True)).softmax(dim=3)
        line = torch.bmm(x.flatten(0, 1), query.flatten(0, 1).transpose(1, 2))
        return line.view(*x.shape[:2], -1, 1)
