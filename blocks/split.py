"""A wrapper that lets any block work on a part of the channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from blocks import (
    SLOTS,
    BlockSpec,
    BranchShape,
    Ins,
    Problem,
    Shape,
    Slot,
    SpecError,
    Tape,
    choice,
    interleave,
    register_block,
)
from blocks.depthwise_separable import DepthwiseSeparable

_DIVISORS = (2, 4)


@register_block("split")
@dataclass(frozen=True, kw_only=True)
class Split(BlockSpec):
    """Any block on the last half or quarter of every branch's channels; the others pass.

    The parts are then interleaved, so that the next block meets other channels, or put back in
    their order. It costs what the block costs on C // divisor channels: where that grows with the
    channels' square, a quarter or a sixteenth. Blocks across branches work as well; their branches
    are narrower.

    Source: the split and the channel shuffle of Ma et al., ShuffleNetV2 (arXiv 1807.11164),
    figure 3c.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out, C_b a multiple of ``divisor``.
    """

    block: BlockSpec = choice(  # noqa: RUF009 - a declaration; blocks are frozen
        DepthwiseSeparable(), help="the block that works on the part"
    )
    divisor: int = choice(2, among=_DIVISORS, help="channels for one that is worked on: 2 or 4")
    shuffle: bool = choice(
        default=True, among=(False, True), help="interleave the parts instead of concatenating"
    )

    def __post_init__(self) -> None:
        """Checks that ``divisor`` is 2 or 4.

        Raises:
            SpecError: If it is not.
        """
        super().__post_init__()
        if self.divisor not in _DIVISORS:
            raise SpecError(
                Problem(
                    rule="field 'divisor' must be 2 or 4",
                    got=repr(self.divisor),
                    do="leave it out for the default, 2",
                )
            )

    @property
    def independent_branches(self) -> bool:
        """Whether the block treats each branch alone."""
        return self.block.independent_branches

    def problems(self, ins: Ins) -> tuple[Problem, ...]:
        """Asks for equal parts, then for what the block asks for."""
        uneven = tuple(
            Problem(
                rule=f"every branch needs a multiple of {self.divisor} channels",
                got=str(shape.channels),
                do=_nearest(shape.channels, self.divisor),
                branch=index,
                stride=shape.stride,
            )
            for index, shape in enumerate(ins)
            if shape.channels % self.divisor
        )
        if uneven:
            return uneven
        kind = SLOTS[Slot.BLOCK].entry_of(type(self.block)).name
        return tuple(
            problem.under(f"block ({kind})") for problem in self.block.problems(self._part(ins))
        )

    def build(self, ins: Ins) -> nn.Module:
        """Makes the block's module at ``block``."""
        return _SplitModule(self.block.build(self._part(ins)), self.divisor, shuffle=self.shuffle)

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        """Writes the block down, then how the parts are joined."""
        parts = [(x[0] // self.divisor, *x[1:]) for x in xs]
        self.block.trace(tape.at("block"), self._part(ins), parts)
        outs = []
        for index, (x, part) in enumerate(zip(xs, parts, strict=True)):
            branch = tape.at("", branch=index)
            if self.shuffle:
                outs.append(branch.interleave(*(part,) * self.divisor))
            else:
                outs.append(branch.cat((x[0] - part[0], *x[1:]), part))
        return tuple(outs)

    def _part(self, ins: Ins) -> tuple[BranchShape, ...]:
        return tuple(replace(shape, channels=shape.channels // self.divisor) for shape in ins)


def _nearest(channels: int, divisor: int) -> str:
    below = channels - channels % divisor
    return f"use {below} or {below + divisor}" if below else f"use {divisor}"


class _SplitModule(nn.Module):
    """The parts of every branch joined after the last one was worked on."""

    def __init__(self, block: nn.Module, divisor: int, *, shuffle: bool) -> None:
        super().__init__()
        self.block = block
        self.divisor = divisor
        self.shuffle = shuffle

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        parts = [x.chunk(self.divisor, dim=1) for x in xs]
        worked = self.block([own[-1] for own in parts])
        if self.shuffle:
            return [interleave(*own[:-1], y) for own, y in zip(parts, worked, strict=True)]
        kept = [x[:, : -own[-1].shape[1]] for x, own in zip(xs, parts, strict=True)]
        return [torch.cat((rest, y), dim=1) for rest, y in zip(kept, worked, strict=True)]
