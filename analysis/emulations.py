"""Emulations: what other tools would count for an operation of our modules in eval mode.

Each rule gives one operation's share of a tool's number. Other tools look at other things: fvcore
at PyTorch's operators, thop at ``torch.nn`` leaf modules (a plain function counts nothing there),
ptflops at both, and so at some twice. All rules start from the same few amounts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from blocks import Op

CONVOLUTIONS = frozenset({"convolution", "conv_transpose"})
"""Kinds of convolutions."""

MATRIX_PRODUCTS = frozenset({"linear", "addmm", "mm", "baddbmm", "bmm"})
"""Kinds of matrix products."""


class Amounts(NamedTuple):
    """What rules ask of an operation.

    Attributes:
        macs: Its multiply-accumulates.
        bias: Output elements of a convolution or matrix product with a bias, 0 for anything else.
        read: Elements of the first activation that it reads, 0 if it reads only weights.
        written: Elements of its output.
        weights: Learnable values that it uses.
    """

    macs: int
    bias: int
    read: int
    written: int
    weights: int


def amounts_of(op: Op) -> Amounts:
    """Returns an operation's amounts."""
    written = math.prod(op.out)
    has_bias = len(op.weights) > 1 and op.kind in _WITH_BIAS
    return Amounts(
        macs=_macs(op),
        bias=written if has_bias else 0,
        read=math.prod(op.ins[0]) if op.ins else 0,
        written=written,
        weights=op.num_weights,
    )


def _macs(op: Op) -> int:
    """Multiply-accumulates of one operation."""
    if op.recorded_macs is not None:
        return op.recorded_macs
    if op.kind in MATRIX_PRODUCTS:
        # Activations stand on the left: their last side is the one that is summed over.
        return math.prod(op.out) * op.ins[0][-1]
    if op.kind not in CONVOLUTIONS:
        return 0
    # Filters that were computed are no weights but what is read beside the image.
    weight = math.prod(op.weights[0] if op.weights else op.ins[1])
    positions = op.ins[0][1:] if op.kind == "conv_transpose" else op.out[1:]
    return weight * math.prod(positions)


def by_paper(op: Op, n: Amounts) -> int:
    """The share of one call in the published FLOPs of the Lite-HRNet family."""
    if op.kind in CONVOLUTIONS:
        return n.macs + n.bias
    if op.module == "AdaptiveAvgPool2d":
        *channels, height, width = op.ins[0]
        return math.prod(channels) * (height + 1) * (width + 1)
    return _PAPER_RULES.get(op.module, _nothing)(op, n)


def by_fvcore(op: Op, n: Amounts) -> int:
    """What fvcore 0.1.5 counts (``FlopCountAnalysis``): by operator."""
    if op.kind == "batch_norm":
        return 2 * n.read
    if op.kind == "layer_norm":
        return 5 * n.read
    if op.kind == "upsample_nearest":
        return n.written
    if op.kind == "upsample_bilinear":
        return 4 * n.written
    if op.module == "AdaptiveAvgPool2d":
        return n.read
    return n.macs


def by_thop(op: Op, n: Amounts) -> int:
    """What thop 0.1.1 counts: by leaf module."""
    if not op.module:
        return 0
    if op.kind == "conv_transpose":
        # It takes the output's positions for the input's.
        return n.macs * math.prod(op.out[1:]) // math.prod(op.ins[0][1:])
    if op.module == "AdaptiveAvgPool2d":
        # One more than the window's size, which may be a fraction, for each output element.
        return n.written + n.written * math.prod(op.ins[0][1:]) // math.prod(op.out[1:])
    return n.macs + _THOP_RULES.get(op.module, _nothing)(op, n)


def by_ptflops(op: Op, n: Amounts) -> int:
    """What ptflops 0.7 counts with its backend "pytorch": by leaf module, and by some functions.

    A ReLU, a pooling and an upsampling that are modules call the function of that name and so
    count twice. Not seen are sums and products that are written with operators, means, and
    convolutions that are functions.
    """
    if not op.module and op.kind in _PTFLOPS_BY_MODULE:
        return 0
    factor = 2 if op.module in _PTFLOPS_SEES_TWICE else 1
    if op.kind in _PTFLOPS_BY_INPUT:
        return factor * n.read
    if op.kind in _UPSAMPLINGS:
        return factor * n.written
    if op.kind == "batch_norm":
        return 2 * n.read
    if op.kind == "layer_norm":
        return n.read
    return n.macs + n.bias


def by_mmcv(op: Op, n: Amounts) -> int:
    """What mmcv's counter counts: by leaf module, every call of the published code.

    Older than ptflops' rules, from which it was taken: no functions.
    """
    if op.module and op.kind in _WITH_BIAS:
        counted = n.macs + n.bias
    elif op.kind in _NORMS:
        counted = 2 * n.read
    elif op.module in _MMCV_BY_INPUT:
        counted = n.read
    else:
        counted = n.written if op.module == "Upsample" else 0
    return counted * op.published_runs


def _nothing(op: Op, n: Amounts) -> int:
    del op, n
    return 0


_PAPER_RULES: dict[str, Callable[[Op, Amounts], int]] = {
    "BatchNorm2d": lambda _, n: 2 * n.read,
    "ReLU": lambda _, n: n.read,
    "ReLU6": lambda _, n: n.read,
    "MaxPool2d": lambda op, n: op.window * n.written,
    "Upsample": lambda op, _: math.prod(op.out[1:]),
}

_THOP_RULES: dict[str, Callable[[Op, Amounts], int]] = {
    "BatchNorm2d": lambda _, n: 4 * n.read,
    "LayerNorm": lambda _, n: 4 * n.read,
    "AvgPool2d": lambda _, n: n.written,
    "Upsample": lambda _, n: n.written,
}

_WITH_BIAS = CONVOLUTIONS | MATRIX_PRODUCTS
_NORMS = frozenset({"batch_norm", "layer_norm"})
_UPSAMPLINGS = frozenset({"upsample_nearest", "upsample_bilinear"})
_PTFLOPS_BY_INPUT = frozenset({"relu", "relu6", "gelu", "max_pool", "avg_pool", "mean"})
_PTFLOPS_BY_MODULE = CONVOLUTIONS | {"mean"}
_PTFLOPS_SEES_TWICE = frozenset(
    {"ReLU", "GELU", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "Upsample"}
)
_MMCV_BY_INPUT = frozenset({"ReLU", "ReLU6", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"})
