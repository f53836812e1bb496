"""Folds into convolutions what stands behind or beside them: norms, factors, parallel branches."""

from __future__ import annotations

import operator
from dataclasses import replace
from numbers import Real

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, fx

from networks.deploy.building import Rebuilding, address_of, arguments_of, aten, is_maps, shape_of
from networks.deploy.convolutions import Convolution, read_convolution


def fold(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew without batch norms, and with what is linear in one convolution.

    - A batch norm in eval mode is a factor and a shift by channel. It goes into the convolution
      before it, or becomes a 1x1 depthwise convolution where none is there.
    - A constant factor goes into the convolution before it, through nearest upsampling, or into
      the addition behind it.
    - Convolutions of one input that are added up are one convolution, and so is one that is added
      to its input: the parallel branches of re-parameterised blocks (Ding et al., RepVGG,
      arXiv 2101.03697, figure 4).

    Args:
        module: A captured graph; it is left as it is.
    """
    rules = {
        operator.getitem: _fold_norm,
        aten.mul.Tensor: _fold_factor,
        aten.add.Tensor: _fold_sum,
    }
    return Rebuilding(module).run(rules)


def _fold_norm(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
    norm, index = arguments_of(node)
    if norm.target is not aten.native_batch_norm.default or index != 0:
        return None
    source, *constants, is_training, _, epsilon = arguments_of(norm)
    weight, bias, mean, variance = map(rebuilding.value, constants)
    if is_training or mean is None or variance is None or not is_maps(source):
        return None
    # In double precision, so that folding adds no rounding of its own but the last.
    scale = torch.rsqrt(variance.double() + epsilon)
    scale = scale if weight is None else scale * weight.double()
    shift = -mean.double() * scale
    shift = shift if bias is None else shift + bias.double()
    before = _foldable(rebuilding, source)
    if before is None:
        name = str(constants[2].target).removesuffix("running_mean")
        before = _identity(rebuilding[source], name, mean, address_of(norm))
    return _scaled(before, scale, shift).write(rebuilding.build)


def _fold_factor(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
    source, factor = arguments_of(node)
    if not isinstance(factor, Real) or not isinstance(source, fx.Node):
        return None
    ups = []
    while source.target is aten.upsample_nearest2d.default and len(source.users) == 1:
        ups.append(source)
        source = arguments_of(source)[0]
    before = _foldable(rebuilding, source)
    if before is None:
        return None
    ones = torch.ones(before.num_outs, dtype=torch.float64)
    made = _scaled(before, float(factor) * ones, 0 * ones).write(rebuilding.build)
    for up in reversed(ups):
        made = rebuilding.build.call(up.target, made, *up.args[1:], address=address_of(up))  # type: ignore[arg-type]
    return made


def _fold_sum(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
    first, second = arguments_of(node)
    if node.kwargs or not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
        return None
    for one, other in ((first, second), (second, first)):
        merged = _merged(rebuilding, one, other)
        if merged is not None:
            return merged.write(rebuilding.build)
    for one, other in ((first, second), (second, first)):
        # x * 2 + y is one operator.
        if one.target is aten.mul.Tensor and isinstance(arguments_of(one)[1], Real):
            made = rebuilding[one]
            if made.target is not aten.mul.Tensor:
                continue
            return rebuilding.build.call(
                aten.add.Tensor,
                rebuilding[other],
                made.args[0],
                address=address_of(node),
                named={"alpha": made.args[1]},
            )
    return None


def _merged(rebuilding: Rebuilding, one: fx.Node, other: fx.Node) -> Convolution | None:
    """Returns conv(x) + conv(x), or conv(x) + x, as one convolution, if that is what is added."""
    conv = _foldable(rebuilding, one)
    if conv is None or conv.transposed:
        return None
    beside = _foldable(rebuilding, other)
    if rebuilding[other] is conv.source and conv.keeps_size:
        if shape_of(conv.source)[1] != conv.num_outs:
            return None
        beside = _identity(conv.source, conv.name, conv.bias, conv.address)
    if beside is None or beside.source is not conv.source or beside.transposed:
        return None
    return _added(conv, beside)


def _added(first: Convolution, second: Convolution) -> Convolution | None:
    """Returns the sum of two convolutions of one input, if one kernel can hold both."""
    if (first.stride, first.dilation) != (second.stride, second.dilation):
        return None
    small, large = sorted((first, second), key=lambda conv: conv.weight[0, 0].numel())
    margins = [b - s for s, b in zip(small.weight.shape[2:], large.weight.shape[2:], strict=True)]
    pads = [b - s for s, b in zip(small.padding, large.padding, strict=True)]
    if any(m < 0 or m != 2 * pad for m, pad in zip(margins, pads, strict=True)):
        return None
    groups = min(small.groups, large.groups)
    weights = [_with_groups(conv, groups) for conv in (small, large)]
    if weights[0] is None or weights[1] is None:
        return None
    sides = [pad for margin in reversed(margins) for pad in (margin // 2, margin // 2)]
    weight = F.pad(weights[0], sides) + weights[1]
    return replace(large, weight=weight, bias=small.bias + large.bias, groups=groups)


def _with_groups(conv: Convolution, groups: int) -> Tensor | None:
    """Returns a depthwise convolution's weight written for fewer groups; others as they are."""
    if conv.groups == groups:
        return conv.weight
    if not conv.is_depthwise:
        return None
    size = conv.num_outs // groups
    weight = conv.weight.new_zeros(conv.num_outs, size, *conv.weight.shape[2:])
    rows = torch.arange(conv.num_outs)
    weight[rows, rows % size] = conv.weight[:, 0]
    return weight


def _foldable(rebuilding: Rebuilding, node: fx.Node) -> Convolution | None:
    """Returns the new convolution for an old node, if nobody else reads what it makes."""
    if len(node.users) > 1:
        return None
    return read_convolution(rebuilding.build, rebuilding[node])


def _identity(source: fx.Node, name: str, like: Tensor, address: str) -> Convolution:
    """Returns a 1x1 depthwise convolution that changes nothing."""
    return Convolution(
        source=source,
        name=f"{name.removesuffix('weight')}weight",
        weight=like.new_ones(len(like), 1, 1, 1),
        bias=like.new_zeros(len(like)),
        groups=len(like),
        address=address,
    )


def _scaled(conv: Convolution, scale: Tensor, shift: Tensor) -> Convolution:
    """Scales in double precision and rounds once."""
    double = replace(conv, weight=conv.weight.double(), bias=conv.bias.double())
    scaled = double.scaled(scale, shift)
    dtype = conv.weight.dtype
    return replace(scaled, weight=scaled.weight.to(dtype), bias=scaled.bias.to(dtype))
