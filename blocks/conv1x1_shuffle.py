"""The shuffle block: the block that conditional channel weighting replaces."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from blocks import (
    BranchBlock,
    BranchShape,
    Chain,
    Problem,
    Shape,
    SpecError,
    Tape,
    choice,
    depthwise,
    even_channels_problems,
    interleave,
    pointwise,
    register_block,
)

_NUM_CONV1X1 = (0, 1, 2)


@register_block("conv1x1_shuffle", aliases=("naive_lite_hrnet",))
@dataclass(frozen=True, kw_only=True)
class Conv1x1Shuffle(BranchBlock):
    """ShuffleNetV2 unit; on all branches it is the block of naive Lite-HRNet.

    Half of the channels pass untouched, half go through 1x1, depthwise 3x3 and 1x1 convolutions;
    the halves are then shuffled together. With c = C/2, its two 1x1 convolutions cost 2·c² of
    the 2·c² + 9·c multiply-accumulates at every position: the bottleneck that Lite-HRNet removes.

    ``num_conv1x1`` below 2 is the ablation of the Lite-HRNet paper's table 6. The paper's counts
    fix the variant with one 1x1 convolution up to which of the two stays (and show that the ReLU
    of the one that stays goes too); here the last one stays.

    Source: Ma et al., ShuffleNetV2 (arXiv 1807.11164), figure 3c; Yu et al., Lite-HRNet
    (arXiv 2104.06403), figure 1a.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out, C_b even.
    """

    num_conv1x1: int = choice(2, among=_NUM_CONV1X1, help="1x1 convolutions kept: 2, 1 or 0")

    def __post_init__(self) -> None:
        """Checks that ``num_conv1x1`` is 0, 1 or 2.

        Raises:
            SpecError: If it is not.
        """
        super().__post_init__()
        if self.num_conv1x1 not in _NUM_CONV1X1:
            raise SpecError(
                Problem(
                    rule="field 'num_conv1x1' must be 0, 1 or 2",
                    got=repr(self.num_conv1x1),
                    do="leave it out for the default, 2",
                )
            )

    def branch_problems(self, shape: BranchShape) -> tuple[Problem, ...]:
        """Asks for halves."""
        return even_channels_problems(shape.channels)

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the unit."""
        return _ShuffleUnit(self._chain(shape.channels).build())

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the unit down."""
        half = (x[0] // 2, *x[1:])
        return tape.interleave(half, self._chain(shape.channels).trace(tape.at("convs"), half))

    def _chain(self, channels: int) -> Chain:
        half = channels // 2
        return Chain(
            {
                2: (pointwise(half, half, "relu"), depthwise(half), pointwise(half, half, "relu")),
                1: (depthwise(half), pointwise(half, half)),
                0: (depthwise(half),),
            }[self.num_conv1x1]
        )


class _ShuffleUnit(nn.Module):
    """interleave(first half, convs(second half))."""

    def __init__(self, convs: nn.Module) -> None:
        super().__init__()
        self.convs = convs

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, dim=1)
        return interleave(kept, self.convs(worked))
