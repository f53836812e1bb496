"""Small parts that blocks share: convolution with norm and activation, halving, interleaving.

A part is a description that builds its module and writes down its operations, so that a block
which is made of parts says each thing once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ._errors import Problem
from ._ops import Tape
from ._shapes import Shape

Activation = Literal["relu", "relu6", "sigmoid", "gelu"]

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}

_IN_PLACE = frozenset({"relu", "relu6"})


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution with "same" padding, then optionally batch norm, then an activation.

    Its module has the children ``conv``, ``norm`` and ``act``, as far as they exist.

    Shape:
        (N, C_in, H, W) to (N, C_out, H / stride, W / stride).
    """

    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    norm: bool = True
    act: Activation | None = None

    def build(self) -> nn.Sequential:
        """Makes the module."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel,
            self.stride,
            padding=self.kernel // 2,
            groups=self.groups,
            bias=self.bias,
        )
        if self.norm:
            layers["norm"] = nn.BatchNorm2d(self.out_channels)
        if self.act is not None:
            layers["act"] = activation(self.act)
        return nn.Sequential(layers)

    def trace(self, tape: Tape, x: Shape) -> Shape:
        """Writes down what the module executes."""
        x = tape.at("conv").conv(
            x,
            self.out_channels,
            kernel=self.kernel,
            stride=self.stride,
            groups=self.groups,
            bias=self.bias,
        )
        if self.norm:
            x = tape.at("norm").norm(x)
        if self.act is not None:
            x = tape.at("act").act(x, _ACTIVATIONS[self.act].__name__)
        return x


@dataclass(frozen=True)
class Chain:
    """Convolutions one after another; its module numbers them from 0."""

    parts: tuple[Conv, ...]

    def build(self) -> nn.Sequential:
        """Makes the module."""
        return nn.Sequential(*(part.build() for part in self.parts))

    def trace(self, tape: Tape, x: Shape) -> Shape:
        """Writes down what the module executes."""
        for index, part in enumerate(self.parts):
            x = part.trace(tape.at(str(index)), x)
        return x


def pointwise(in_channels: int, out_channels: int, act: Activation | None = None) -> Conv:
    """Returns a 1x1 convolution with batch norm."""
    return Conv(in_channels=in_channels, out_channels=out_channels, act=act)


def depthwise(
    channels: int, *, kernel: int = 3, stride: int = 1, act: Activation | None = None
) -> Conv:
    """Returns a depthwise convolution with batch norm, 3x3 unless said otherwise."""
    return Conv(
        in_channels=channels,
        out_channels=channels,
        kernel=kernel,
        stride=stride,
        groups=channels,
        act=act,
    )


def conv3x3(
    in_channels: int, out_channels: int, *, stride: int = 1, act: Activation | None = None
) -> Conv:
    """Returns a dense 3x3 convolution with batch norm."""
    return Conv(
        in_channels=in_channels, out_channels=out_channels, kernel=3, stride=stride, act=act
    )


def activation(name: Activation) -> nn.Module:
    """Makes an activation module, in place where PyTorch offers that."""
    return _ACTIVATIONS[name](inplace=True) if name in _IN_PLACE else _ACTIVATIONS[name]()


def interleave(*parts: Tensor) -> Tensor:
    """Concatenates equal parts and shuffles the channels with as many groups, in one write.

    Of two parts, channel k of the first becomes channel 2k, channel k of the second channel
    2k + 1: the channel shuffle of ShuffleNet (arXiv 1707.01083). Where the last part lies in
    memory channels last, so does the result: one shuffle that fell back to channels first would
    take the whole network behind it along, and there a depthwise convolution on a CPU spends most
    of its time on moving its input and output to and fro.

    Shape:
        G times (N, C, H, W) in, (N, G·C, H, W) out.
    """
    # The last part was computed; the first is often a slice, which is in neither order.
    if parts[-1].is_contiguous(memory_format=torch.channels_last) and not parts[-1].is_contiguous():
        rows = [part.permute(0, 2, 3, 1) for part in parts]
        return torch.stack(rows, dim=4).flatten(3).permute(0, 3, 1, 2)
    return torch.stack(parts, dim=2).flatten(1, 2)


def odd_kernel_problems(name: str, kernel: int) -> tuple[Problem, ...]:
    """Returns a problem if a field holds a kernel that "same" padding does not fit.

    Args:
        name: The field.
        kernel: Its value; 0 stands for no convolution.
    """
    if kernel == 0 or kernel % 2 == 1:
        return ()
    return (
        Problem(
            rule=f"field {name!r} must be an odd kernel size",
            got=str(kernel),
            do=f"use {kernel - 1} or {kernel + 1}",
        ),
    )


def even_channels_problems(channels: int) -> tuple[Problem, ...]:
    """Returns a problem if so many channels cannot be split into halves."""
    if channels % 2 == 0:
        return ()
    return (
        Problem(
            rule="every branch needs an even number of channels",
            got=str(channels),
            do=f"use {channels - 1} or {channels + 1}" if channels > 1 else "use 2",
        ),
    )
