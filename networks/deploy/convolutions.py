"""Reads and writes convolutions with constant weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from networks.deploy.building import NUM_SIDES, Builder, aten


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution:
    """A convolution with constant weights, as data.

    Attributes:
        source: What makes its input.
        name: Name of its weight.
        weight: (C_out, C_in / groups, k, k), or (C_in, C_out / groups, k, k) if transposed.
        bias: (C_out,).
        stride: By dimension.
        padding: By dimension.
        dilation: By dimension.
        transposed: Whether it is a transposed one.
        output_padding: By dimension.
        groups: Number of groups.
        address: Path of the module that executes it.
    """

    source: fx.Node
    name: str
    weight: Tensor
    bias: Tensor
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0)
    dilation: tuple[int, ...] = (1, 1)
    transposed: bool = False
    output_padding: tuple[int, ...] = (0, 0)
    groups: int = 1
    address: str

    @property
    def num_outs(self) -> int:
        """Channels that go out."""
        return len(self.bias)

    @property
    def is_dense(self) -> bool:
        """Whether every channel that goes out sees every channel that comes in."""
        return self.groups == 1 and not self.transposed

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel that goes out is the one that came in, filtered."""
        # One channel out of many has as many groups as channels as well, and reads all of them.
        reads_one = not self.transposed and self.weight.shape[1] == 1
        return reads_one and self.groups == self.num_outs == len(self.weight)

    @property
    def is_pointwise(self) -> bool:
        """Whether it looks at one position at a time and leaves none out."""
        plain = (self.stride, self.padding) == ((1, 1), (0, 0))
        return plain and not self.transposed and self.weight.shape[2:] == (1, 1)

    @property
    def keeps_size(self) -> bool:
        """Whether its output has its input's sides: odd kernel, stride 1, "same" padding."""
        sides = self.weight.shape[2:]
        same = all(k % 2 == 1 and p == k // 2 for k, p in zip(sides, self.padding, strict=True))
        plain = not self.transposed and {*self.stride, *self.dilation} == {1}
        return same and plain

    def scaled(self, scale: Tensor, shift: Tensor) -> Convolution:
        """Returns the convolution followed by y * scale + shift, by channel."""
        if self.transposed:
            grouped = scale.reshape(self.groups, -1).repeat_interleave(
                len(self.weight) // self.groups, dim=0
            )
            weight = self.weight * grouped[:, :, None, None]
        else:
            weight = self.weight * scale[:, None, None, None]
        return replace(self, weight=weight, bias=self.bias * scale + shift)

    def with_rows(self, order: Sequence[int]) -> Convolution:
        """Returns the dense convolution that puts out some channels, in some order."""
        assert self.is_dense
        index = torch.tensor(order)
        return replace(self, weight=self.weight[index], bias=self.bias[index])

    def reading(self, source: fx.Node, places: Sequence[int], num_ins: int) -> Convolution:
        """Returns the dense convolution that finds its input among other channels.

        Args:
            source: What makes the other tensor.
            places: For each channel that the convolution read, where it is now.
            num_ins: How many channels the other tensor has.
        """
        assert self.is_dense
        weight = self.weight.new_zeros(self.num_outs, num_ins, *self.weight.shape[2:])
        weight.index_add_(1, torch.tensor(places), self.weight)
        return replace(self, source=source, weight=weight)

    def write(self, builder: Builder) -> fx.Node:
        """Appends the convolution to a graph."""
        weight = builder.constant(self.name, self.weight)
        bias = builder.constant(f"{self.name.removesuffix('weight')}bias", self.bias)
        return builder.call(
            aten.convolution.default,
            self.source,
            weight,
            bias,
            list(self.stride),
            list(self.padding),
            list(self.dilation),
            self.transposed,
            list(self.output_padding),
            self.groups,
            address=self.address,
        )


def read_convolution(builder: Builder, node: fx.Node) -> Convolution | None:
    """Returns a node of a graph under construction as a convolution, if it is one.

    Args:
        builder: The graph.
        node: Any of its nodes.
    """
    if node.target is not aten.convolution.default:
        return None
    source, weight, bias, stride, padding, dilation, transposed, output_padding, groups = node.args
    assert isinstance(source, fx.Node)
    assert isinstance(weight, fx.Node)
    if weight.op != "get_attr" or (isinstance(bias, fx.Node) and bias.op != "get_attr"):
        return None
    value = builder.value(weight)
    if value.dim() != NUM_SIDES:
        return None
    assert isinstance(groups, int)
    num_outs = value.shape[1] * groups if transposed else len(value)
    return Convolution(
        source=source,
        name=str(weight.target),
        weight=value,
        bias=builder.value(bias) if isinstance(bias, fx.Node) else value.new_zeros(num_outs),
        stride=tuple(stride),  # type: ignore[arg-type]
        padding=tuple(padding),  # type: ignore[arg-type]
        dilation=tuple(dilation),  # type: ignore[arg-type]
        transposed=bool(transposed),
        output_padding=tuple(output_padding),  # type: ignore[arg-type]
        groups=groups,
        address=str(node.meta["address"]),
    )


def read_pointwise(builder: Builder, node: fx.Node) -> Convolution | None:
    """Returns a node as a convolution that mixes the channels of each place, if it is one.

    Args:
        builder: The graph.
        node: Any of its nodes.
    """
    conv = read_convolution(builder, node)
    return conv if conv is not None and conv.is_dense and conv.is_pointwise else None


def tiling(source: fx.Node, weight: Tensor, *, what: str, address: str) -> Convolution:
    """Returns the depthwise convolution whose windows lie side by side.

    Args:
        source: The maps (N, C, H, W).
        weight: (C, 1, k, k).
        what: How the weight is called, below the address.
        address: Path of the module that it belongs to.
    """
    return Convolution(
        source=source,
        name=f"{address}.{what}.weight" if address else f"{what}.weight",
        weight=weight,
        bias=torch.zeros_like(weight[:, 0, 0, 0]),
        stride=tuple(weight.shape[2:]),
        groups=len(weight),
        address=address,
    )
