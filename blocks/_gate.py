"""The channel gate, which conditional channel weighting and RepViT's block share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ._ops import Tape
from ._parts import Chain, Conv
from ._shapes import Shape


@dataclass(frozen=True)
class Gate:
    """Every channel times a number between 0 and 1 that the means of all channels decide.

    Source: Hu et al., Squeeze-and-Excitation Networks (arXiv 1709.01507), figure 2.

    Attributes:
        channels: The channels.
        hidden: The channels between its two 1x1 convolutions, which have biases and no norm.

    Shape:
        (N, channels, H, W) in and out.
    """

    channels: int
    hidden: int

    def build(self) -> nn.Module:
        """Makes the module."""
        return GateModule(self._convs().build())

    def trace(self, tape: Tape, x: Shape) -> Shape:
        """Writes down what the module executes."""
        point = self._convs().trace(tape.at("convs"), tape.at("pool").pool_to_point(x))
        return tape.mul(x, point)

    def _convs(self) -> Chain:
        c, h = self.channels, self.hidden
        return Chain(
            (
                Conv(in_channels=c, out_channels=h, bias=True, norm=False, act="relu"),
                Conv(in_channels=h, out_channels=c, bias=True, norm=False, act="sigmoid"),
            )
        )


class GateModule(nn.Module):
    """x * convs(mean of x over all positions).

    Args:
        convs: From the means to the numbers.
    """

    def __init__(self, convs: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.convs = convs

    def forward(self, x: Tensor) -> Tensor:
        """Weights the channels."""
        weights: Tensor = self.convs(self.pool(x))
        return x * weights
