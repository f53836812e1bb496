"""Residual chains, the part that basic and bottleneck blocks share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ._ops import Tape
from ._parts import Conv
from ._shapes import Shape


@dataclass(frozen=True)
class Residual:
    """Convolutions around which the input is carried: ReLU(convs(x) + shortcut(x)).

    One ReLU module stands after every convolution but the last and after the sum, as in the
    published code (counters that look at each module once see only its last call).

    Shape:
        (N, C_in, H, W) to (N, C_out, H, W).
    """

    convs: tuple[Conv, ...]
    shortcut: Conv | None = None

    def build(self) -> nn.Module:
        """Makes the module."""
        return ResidualModule(
            nn.ModuleList(conv.build() for conv in self.convs),
            None if self.shortcut is None else self.shortcut.build(),
        )

    def trace(self, tape: Tape, x: Shape) -> Shape:
        """Writes down what the module executes."""
        y = x
        for index, conv in enumerate(self.convs):
            y = conv.trace(tape.at(f"convs.{index}"), y)
            if index < len(self.convs) - 1:
                y = tape.at("act").act(y)
        carried = x if self.shortcut is None else self.shortcut.trace(tape.at("shortcut"), x)
        return tape.at("act").act(tape.add(y, carried))


class ResidualModule(nn.Module):
    """ReLU(convs(x) + shortcut(x)) with one shared ReLU.

    Args:
        convs: Convolutions with batch norm and without activation.
        shortcut: What the input passes through; None carries it unchanged.
    """

    def __init__(self, convs: nn.ModuleList, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.convs = convs
        self.shortcut = shortcut
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Computes the sum and its ReLU."""
        *first, last = self.convs
        y = x
        for conv in first:
            y = self.act(conv(y))
        y = last(y)
        carried = x if self.shortcut is None else self.shortcut(x)
        result: Tensor = self.act(y + carried)
        return result
