"""The block of RepViT."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from blocks import (
    BranchBlock,
    BranchShape,
    Chain,
    Conv,
    Shape,
    Tape,
    choice,
    depthwise,
    pointwise,
    register_block,
)
from blocks._carried import CarriedModule
from blocks._gate import Gate


@register_block("repvit")
@dataclass(frozen=True, kw_only=True)
class RepViT(BranchBlock):
    """A depthwise token mixer in parallel branches, then a channel mixer (RepViT).

    The token mixer is BN(BN(dw3x3(x)) + dw1x1(x) + x), with a channel gate (squeeze-and-excitation
    at a quarter of the channels) if asked for; the channel mixer is x + BN(pw(GELU(BN(pw(x))))).
    It costs 10·C + 2·e·C² multiply-accumulates at every position, e the expansion, and 2·C·(C//4)
    once for the gate. Built is what is trained: for deployment the token mixer's sum can be merged
    into one depthwise convolution, which leaves 9·C.

    Source: Wang et al., RepViT (arXiv 2307.09283), figure 3, at stride 1. The
    batch norm after the sum is the released code's; its bias in front of that norm, which takes
    it away, and the rounding of the gate's channels to multiples of 8 are left out.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    expand_ratio: int = choice(2, among=(2, 3, 4), help="how much wider the channel mixer is")
    gate: bool = choice(
        default=False, among=(False, True), help="weight channels (every other block in the paper)"
    )

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the two mixers."""
        channels = shape.channels
        gate = (_gate(channels).build(),) if self.gate else ()
        mixer = CarriedModule(self._mixer(channels).build())
        return nn.Sequential(_TokenMixer(channels), *gate, mixer)

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the two mixers down."""
        tokens = tape.at("0")
        filtered = depthwise(shape.channels).trace(tokens.at("conv"), x)
        total = tokens.add(filtered, _scale(shape.channels).trace(tokens.at("scale"), x))
        x = tokens.at("norm").norm(tokens.add(total, x))
        if self.gate:
            x = _gate(shape.channels).trace(tape.at("1"), x)
        mixer = tape.at("2" if self.gate else "1")
        return mixer.add(self._mixer(shape.channels).trace(mixer.at("convs"), x), x)

    def _mixer(self, channels: int) -> Chain:
        hidden = channels * self.expand_ratio
        return Chain((pointwise(channels, hidden, "gelu"), pointwise(hidden, channels)))


def _scale(channels: int) -> Conv:
    return Conv(in_channels=channels, out_channels=channels, groups=channels, norm=False)


def _gate(channels: int) -> Gate:
    return Gate(channels, max(1, channels // 4))


class _TokenMixer(nn.Module):
    """BN(conv(x) + scale(x) + x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = depthwise(channels).build()
        self.scale = _scale(channels).build()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.norm(self.conv(x) + self.scale(x) + x)
        return total
