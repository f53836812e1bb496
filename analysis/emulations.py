"""Emulations: what other tools would count for an operation of our modules in eval mode.

Each rule gives one operation's share of a tool's number. Other tools look at other things: fvcore
at PyTorch's operators, thop at ``torch.nn`` leaf modules (a plain function counts nothing there),
ptflops at both, and so at some twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from torch.utils.flop_counter import conv_flop_count

from blocks import Op

CONVOLUTIONS = frozenset({"convolution", "conv_transpose"})
"""Kinds of convolutions."""

MATRIX_PRODUCTS = frozenset({"linear", "addmm", "mm", "baddbmm", "bmm"})
"""Kinds of matrix products."""


def op_macs(op: Op) -> int:
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


def bias_additions(op: Op) -> int:
    """Output elements of a convolution or matrix product with a bias, 0 for anything else."""
    has_bias = op.kind in CONVOLUTIONS | MATRIX_PRODUCTS and len(op.weights) > 1
    return math.prod(op.out) if has_bias else 0


def num_read(op: Op) -> int:
    """Elements of the first activation that an operation reads, 0 if it reads only weights."""
    return math.prod(op.ins[0]) if op.ins else 0


def by_paper(op: Op) -> int:
    """The share of one call in the published FLOPs of the Lite-HRNet family."""
    if op.kind in CONVOLUTIONS:
        return op_macs(op) + bias_additions(op)
    if op.module == "AdaptiveAvgPool2d":
        channels, height, width = op.ins[0]
        return channels * (height + 1) * (width + 1)
    return _PAPER_RULES.get(op.module, _nothing)(op)


def by_fvcore(op: Op) -> int:
    """What fvcore 0.1.5 counts (``FlopCountAnalysis``): by operator."""
    if op.kind == "batch_norm":
        return 2 * num_read(op)
    if op.kind == "layer_norm":
        return 5 * num_read(op)
    if op.kind == "upsample_nearest":
        return math.prod(op.out)
    if op.kind == "upsample_bilinear":
        return 4 * math.prod(op.out)
    if op.module == "AdaptiveAvgPool2d":
        return num_read(op)
    return op_macs(op)


def by_thop(op: Op) -> int:
    """What thop 0.1.1 counts: by leaf module."""
    if not op.module:
        return 0
    if op.kind == "conv_transpose":
        # It takes the output's positions for the input's.
        return op_macs(op) * math.prod(op.out[1:]) // math.prod(op.ins[0][1:])
    if op.module == "AdaptiveAvgPool2d":
        window_size = Fraction(math.prod(op.ins[0][1:]), math.prod(op.out[1:]))
        return int((window_size + 1) * math.prod(op.out))
    return op_macs(op) + _THOP_RULES.get(op.module, _nothing)(op)


def by_ptflops(op: Op) -> int:
    """What ptflops 0.7 counts with its backend "pytorch": by leaf module, and by some functions.

    A ReLU, a pooling and an upsampling that are modules call the function of that name and so
    count twice. Not seen are sums and products that are written with operators, means, and
    convolutions that are functions.
    """
    if not op.module and op.kind in _PTFLOPS_BY_MODULE:
        return 0
    factor = 2 if op.module in _PTFLOPS_SEES_TWICE else 1
    if op.kind in _PTFLOPS_BY_INPUT:
        return factor * num_read(op)
    if op.kind in {"upsample_nearest", "upsample_bilinear"}:
        return factor * math.prod(op.out)
    if op.kind == "batch_norm":
        return 2 * num_read(op)
    if op.kind == "layer_norm":
        return num_read(op)
    return op_macs(op) + bias_additions(op)


def by_mmcv(op: Op) -> int:
    """What mmcv's counter counts: by leaf module, every call of the published code.

    Older than ptflops' rules, from which it was taken: no functions.
    """
    if op.module and op.kind in CONVOLUTIONS | MATRIX_PRODUCTS:
        counted = op_macs(op) + bias_additions(op)
    elif op.kind in {"batch_norm", "layer_norm"}:
        counted = 2 * num_read(op)
    elif op.module in _MMCV_BY_INPUT:
        counted = num_read(op)
    else:
        counted = math.prod(op.out) if op.module == "Upsample" else 0
    return counted * op.published_runs


def by_torch(op: Op) -> int:
    """What PyTorch's ``FlopCounterMode`` counts: by operator, with PyTorch's own formulas."""
    if op.kind in CONVOLUTIONS and op.weights and op.recorded_macs is None:
        return int(
            conv_flop_count(
                [1, *op.ins[0]],
                list(op.weights[0]),
                [1, *op.out],
                transposed=op.kind == "conv_transpose",
            )
        )
    # Its formula of a matrix product, m · n · 2 · k.
    return 2 * op_macs(op)


def _nothing(op: Op) -> int:
    del op
    return 0


_PAPER_RULES: dict[str, Callable[[Op], int]] = {
    "BatchNorm2d": lambda op: 2 * num_read(op),
    "ReLU": num_read,
    "ReLU6": num_read,
    "MaxPool2d": lambda op: op.window * math.prod(op.out),
    "Upsample": lambda op: math.prod(op.out[1:]),
}

_THOP_RULES: dict[str, Callable[[Op], int]] = {
    "BatchNorm2d": lambda op: 4 * num_read(op),
    "LayerNorm": lambda op: 4 * num_read(op),
    "AvgPool2d": lambda op: math.prod(op.out),
    "Upsample": lambda op: math.prod(op.out),
}

_PTFLOPS_BY_INPUT = frozenset({"relu", "relu6", "gelu", "max_pool", "avg_pool", "mean"})
_PTFLOPS_BY_MODULE = CONVOLUTIONS | {"mean"}
_PTFLOPS_SEES_TWICE = frozenset(
    {"ReLU", "GELU", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "Upsample"}
)
_MMCV_BY_INPUT = frozenset({"ReLU", "ReLU6", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"})
