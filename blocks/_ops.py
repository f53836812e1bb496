"""Operations: what a layer executes, stated without executing it.

An ``Op`` says what one call does to memory: which tensors it reads and writes, and which weights
it uses. Everything that is ever counted (MACs, parameters, the rules of other tools) is a pure
function of a sequence of operations, whether the sequence was written down by a ``Tape`` from a
spec alone or recorded from a real execution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from ._errors import join_address
from ._shapes import Shape

UPSAMPLE_MODULE = "Upsample"


@dataclass(frozen=True, slots=True)
class Op:
    """One executed operation on one image (batch 1).

    Attributes:
        kind: What it computes, in PyTorch's words (``convolution``, ``batch_norm``, ``relu``, ...).
        ins: Shapes of the activations that it reads, without the batch dimension.
        out: Shape of the activation that it writes.
        weights: Shapes of the learnable tensors that it uses.
        window: Number of elements in a pooling window (0 where there is none).
        address: Path of the module that executes it, relative to the layer that lists it.
        module: Class of the ``torch.nn`` leaf module that executes it, "" for a plain function.
        branch: The branch that it works on, where the layer says so (a label: two operations
            that differ only here are equal).
        published_runs: How often the published code executes it where ours executes it once
            (a label as well: it cannot be seen in an execution).
        recorded_macs: Multiply-accumulates by PyTorch's own formula, where the operation was
            recorded from an execution and PyTorch has one (a label as well).
    """

    kind: str
    ins: tuple[Shape, ...]
    out: Shape
    weights: tuple[Shape, ...] = ()
    window: int = 0
    address: str = ""
    module: str = ""
    branch: int | None = field(default=None, compare=False)
    published_runs: int = field(default=1, compare=False)
    recorded_macs: int | None = field(default=None, compare=False)

    def under(self, prefix: str, branch: int | None = None) -> Op:
        """Returns the same operation seen from a layer further out.

        Args:
            prefix: The address of the layer that listed it.
            branch: The branch's number out there; None keeps the label.
        """
        return Op(
            self.kind,
            self.ins,
            self.out,
            self.weights,
            self.window,
            join_address(prefix, self.address),
            self.module,
            self.branch if branch is None else branch,
            self.published_runs,
            self.recorded_macs,
        )

    @property
    def num_weights(self) -> int:
        """Learnable values that the operation uses."""
        return sum(map(math.prod, self.weights))


class Tape:
    """Writes down, in order, the operations of a layer in eval mode.

    Each method appends one operation and returns the shape that it writes, so that a layer's
    closed form reads like its forward pass. ``at`` gives a tape that writes to the same list
    under a submodule's name.

    >>> tape = Tape()
    >>> tape.at("conv").conv((3, 8, 8), 16, kernel=3, stride=2)
    (16, 4, 4)
    >>> tape.ops[0].address
    'conv'
    """

    def __init__(
        self, address: str = "", branch: int | None = None, published_runs: int = 1
    ) -> None:
        self.ops: list[Op] = []
        self._address = address
        self._branch = branch
        self._published_runs = published_runs

    def at(self, name: str, branch: int | None = None, published_runs: int | None = None) -> Tape:
        """Returns a tape for the submodule ``name``.

        Args:
            name: The submodule's address below this tape's.
            branch: The branch that it works on; None keeps the label.
            published_runs: How often the published code runs it; None keeps the label.
        """
        address = self._address
        child = Tape(
            f"{address}.{name}" if address and name else address or name,
            self._branch if branch is None else branch,
            self._published_runs if published_runs is None else published_runs,
        )
        child.ops = self.ops
        return child

    def write(  # noqa: PLR0913 - one parameter for each thing an operation says
        self,
        kind: str,
        ins: tuple[Shape, ...],
        out: Shape,
        *,
        weights: tuple[Shape, ...] = (),
        window: int = 0,
        module: str = "",
    ) -> Shape:
        """Appends any operation; the methods below name the usual ones."""
        self.ops.append(
            Op(
                *(kind, ins, out, weights, window, self._address, module),
                branch=self._branch,
                published_runs=self._published_runs,
            )
        )
        return out

    def splice(self, ops: tuple[Op, ...], branches: tuple[int, ...] | None = None) -> None:
        """Appends another layer's operations under this tape's address.

        Args:
            ops: The operations.
            branches: What that layer's branch numbers are here; None keeps them.
        """
        for op in ops:
            branch = op.branch if branches is None or op.branch is None else branches[op.branch]
            self.ops.append(op.under(self._address, branch))

    def conv(  # noqa: PLR0913 - the settings of a convolution
        self,
        x: Shape,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> Shape:
        """``nn.Conv2d`` with "same" padding: every side shrinks by the stride."""
        weights: tuple[Shape, ...] = ((out_channels, x[0] // groups, kernel, kernel),)
        if bias:
            weights += ((out_channels,),)
        out = (out_channels, -(-x[1] // stride), -(-x[2] // stride))
        return self.write("convolution", (x,), out, weights=weights, module="Conv2d")

    def deconv(self, x: Shape, out_channels: int, *, kernel: int, stride: int) -> Shape:
        """``nn.ConvTranspose2d`` without bias that enlarges every side by the stride."""
        out = (out_channels, x[1] * stride, x[2] * stride)
        weights = ((x[0], out_channels, kernel, kernel),)
        return self.write("conv_transpose", (x,), out, weights=weights, module="ConvTranspose2d")

    def norm(self, x: Shape) -> Shape:
        """``nn.BatchNorm2d``."""
        weights = ((x[0],), (x[0],))
        return self.write("batch_norm", (x,), x, weights=weights, module="BatchNorm2d")

    def act(self, x: Shape, module: str = "ReLU") -> Shape:
        """An activation module: ``ReLU``, ``ReLU6``, ``Sigmoid`` or ``GELU``."""
        return self.write(ACTIVATION_KINDS[module], (x,), x, module=module)

    def pool_to_point(self, x: Shape) -> Shape:
        """``nn.AdaptiveAvgPool2d(1)``: the mean of every channel."""
        return self.write("mean", (x,), (x[0], 1, 1), module="AdaptiveAvgPool2d")

    def avg_pool(self, x: Shape, ratio: int) -> Shape:
        """``F.avg_pool2d`` with a window and stride of ``ratio``."""
        out = (x[0], x[1] // ratio, x[2] // ratio)
        return self.write("avg_pool", (x,), out, window=ratio * ratio)

    def max_pool(self, x: Shape, *, kernel: int, stride: int) -> Shape:
        """``nn.MaxPool2d`` with "same" padding."""
        out = (x[0], -(-x[1] // stride), -(-x[2] // stride))
        return self.write("max_pool", (x,), out, window=kernel * kernel, module="MaxPool2d")

    def upsample_nearest(self, x: Shape, ratio: int, *, module: bool = False) -> Shape:
        """Nearest-neighbour upsampling, as ``nn.Upsample`` or as a function."""
        out = (x[0], x[1] * ratio, x[2] * ratio)
        return self.write("upsample_nearest", (x,), out, module=UPSAMPLE_MODULE if module else "")

    def upsample_bilinear(self, x: Shape, ratio: int) -> Shape:
        """``F.interpolate(mode="bilinear")``."""
        return self.write("upsample_bilinear", (x,), (x[0], x[1] * ratio, x[2] * ratio))

    def add(self, x: Shape, y: Shape) -> Shape:
        """The sum of two tensors of one shape."""
        return self.write("add", (x, y), x)

    def mul(self, x: Shape, y: Shape | None = None) -> Shape:
        """The product of a tensor with another (broadcast over positions) or with a number."""
        return self.write("mul", (x,) if y is None else (x, y), x)

    def cat(self, *xs: Shape) -> Shape:
        """Concatenation along the channels."""
        return self.write("cat", xs, (sum(x[0] for x in xs), *xs[0][1:]))

    def interleave(self, *xs: Shape) -> Shape:
        """Concatenation of equal parts followed by a channel shuffle with as many groups."""
        first = xs[0]
        self.write("stack", xs, (first[0], len(xs), *first[1:]))
        return (len(xs) * first[0], *first[1:])

    def conv_by(self, x: Shape, kernel: int) -> Shape:
        """``F.conv2d``, depthwise, with "same" padding and with filters that were computed."""
        filters = without_batch((x[0], 1, kernel, kernel))
        return self.write("convolution", (x, filters), x)

    def layer_norm(self, x: Shape) -> Shape:
        """``nn.LayerNorm`` over the last side."""
        weights = ((x[-1],), (x[-1],))
        return self.write("layer_norm", (x,), x, weights=weights, module="LayerNorm")

    def softmax(self, x: Shape) -> Shape:
        """``Tensor.softmax`` over one side."""
        return self.write("softmax", (x,), x)

    def mean(self, x: Shape, side: int) -> Shape:
        """``Tensor.mean`` over one side, which is kept with a length of 1."""
        return self.write("mean", (x,), (*x[:side], 1, *x[side + 1 :]))

    def mix(self, x: Shape, weight: Shape) -> Shape:
        """``torch.matmul`` of a vector for each image with a learnable matrix."""
        return self.write("mm", (x,), weight[1:], weights=(weight,))

    def bmm(self, x: Shape, y: Shape) -> Shape:
        """``torch.bmm`` over all channels of all images: (C, h, k) by (C, k, w)."""
        ins, out = (without_batch(x), without_batch(y)), (x[0], x[1], y[2])
        self.write("bmm", ins, without_batch(out))
        return out


def without_batch(sides: Shape) -> Shape:
    """Drops a batch of one; the channels, heads or tokens that reshaping put first are kept."""
    return sides[1:] if sides and sides[0] == 1 else sides


def num_weights(ops: Iterable[Op]) -> int:
    """Learnable values that operations use; those of a module that runs twice count once."""
    return sum(
        math.prod(shape)
        for _, _, shapes in {(op.address, op.kind, op.weights) for op in ops}
        for shape in shapes
    )


ACTIVATION_KINDS = {"ReLU": "relu", "ReLU6": "relu6", "Sigmoid": "sigmoid", "GELU": "gelu"}
"""Kind of the operation that each activation module executes."""
