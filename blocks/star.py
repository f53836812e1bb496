"""The block of StarNet."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from blocks import (
    BranchBlock,
    BranchShape,
    Conv,
    Shape,
    SpecError,
    Tape,
    activation,
    choice,
    depthwise,
    pointwise,
    register_block,
)
from blocks._parts import odd_kernel_problems


@register_block("star")
@dataclass(frozen=True, kw_only=True)
class Star(BranchBlock):
    """The product of two 1x1 convolutions, between depthwise 7x7 ones (StarNet).

    Computes x + dw(pw(ReLU6(f(y)) * g(y))) with y = BN(dw(x)), where f and g widen to e·C
    channels. With k the kernel it costs 2·k²·C + 3·e·C² multiply-accumulates at every position.

    Source: Ma et al., Rewrite the Stars (arXiv 2403.19967), section 4 and figure 4. The released
    code also has biases in front of its batch norms, which take them away: left out.

    Shape:
        Every branch (N, C_b, H/s_b, W/s_b) in and out.
    """

    expand_ratio: int = choice(4, among=(2, 3, 4), help="how much wider the product is")
    kernel: int = choice(7, among=(3, 5, 7), help="kernel of the depthwise convolutions")

    def __post_init__(self) -> None:
        """Checks that the kernel is odd.

        Raises:
            SpecError: If it is not.
        """
        super().__post_init__()
        problems = odd_kernel_problems("kernel", self.kernel)
        if problems:
            raise SpecError(problems)

    def build_branch(self, shape: BranchShape) -> nn.Module:
        """Makes the block."""
        return _StarModule({name: conv.build() for name, conv in self._convs(shape).items()})

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        """Writes the block down."""

        def run(name: str, y: Shape) -> Shape:
            return convs[name].trace(tape.at(f"convs.{name}"), y)

        convs = self._convs(shape)
        y = run("before", x)
        left, right = run("left", y), run("right", y)
        product = tape.mul(tape.at("act").act(left, "ReLU6"), right)
        return tape.add(x, run("after", run("narrow", product)))

    def _convs(self, shape: BranchShape) -> dict[str, Conv]:
        channels, hidden = shape.channels, shape.channels * self.expand_ratio
        widen = Conv(in_channels=channels, out_channels=hidden, bias=True, norm=False)
        return {
            "before": depthwise(channels, kernel=self.kernel),
            "left": widen,
            "right": widen,
            "narrow": pointwise(hidden, channels),
            "after": Conv(
                in_channels=channels,
                out_channels=channels,
                kernel=self.kernel,
                groups=channels,
                bias=True,
                norm=False,
            ),
        }


class _StarModule(nn.Module):
    def __init__(self, convs: dict[str, nn.Sequential]) -> None:
        super().__init__()
        self.convs = nn.ModuleDict(convs)
        self.act = activation("relu6")

    def forward(self, x: Tensor) -> Tensor:
        y = self.convs["before"](x)
        left, right = self.convs["left"](y), self.convs["right"](y)
        product = self.act(left) * right
        carried: Tensor = x + self.convs["after"](self.convs["narrow"](product))
        return carried
