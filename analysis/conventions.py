"""Counting conventions: pure functions of operations.

Ten profilers give one network ten numbers because they count different things. Each function
here is one way to count; none of them looks at a spec or a module, so they serve closed-form and
recorded operations alike. All results are whole numbers, for one image, in units (no mega).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from blocks import Op, num_weights

_CONVOLUTIONS = frozenset({"convolution", "conv_transpose"})
_MATRIX_PRODUCTS = frozenset({"linear", "addmm", "mm", "baddbmm", "bmm"})


def macs(ops: Iterable[Op]) -> int:
    """Multiply-accumulates of all convolutions and matrix products as our modules execute them.

    The headline: no bias, no batch norm, no activation, every executed call once.
    """
    return sum(_op_macs(op) for op in ops)


def params(ops: Iterable[Op]) -> int:
    """Learnable values; a module that runs twice is counted once."""
    return num_weights(ops)


def paper(ops: Iterable[Op]) -> int:
    """The published FLOPs of the Lite-HRNet family, as a raw integer (they are printed / 2^20).

    Every leaf module counts once, by its last call: convolution with its bias, twice the input
    elements of a batch norm, the input elements of a ReLU, windows of max poolings, C·(H+1)·(W+1)
    for a pooling to one point, H·W for an upsampling module. Plain functions count nothing.
    """
    last_calls = {op.address: op for op in ops if op.module}
    return sum(_paper_rule(op) for op in last_calls.values())


def fvcore(ops: Iterable[Op]) -> int:
    """What ``fvcore.nn.FlopCountAnalysis(module).total()`` prints for our module in eval mode."""
    total = 0
    for op in ops:
        if op.kind == "batch_norm":
            total += 2 * math.prod(op.ins[0])
        elif op.kind == "upsample_nearest":
            total += math.prod(op.out)
        elif op.kind == "upsample_bilinear":
            total += 4 * math.prod(op.out)
        elif op.module == "AdaptiveAvgPool2d":
            total += math.prod(op.ins[0])
        else:
            total += _op_macs(op)
    return total


def thop(ops: Iterable[Op]) -> int:
    """What ``thop.profile(module)`` prints first for our module ("MACs") in eval mode.

    It counts four times the elements of a batch norm, and transposed convolutions at the output's
    resolution.
    """
    return sum(_thop_rule(op) for op in ops if op.module)


CONVENTIONS: dict[str, Callable[[Sequence[Op]], int]] = {
    "macs": macs,
    "params": params,
    "paper": paper,
    "fvcore": fvcore,
    "thop": thop,
}
"""All conventions by name, the headline first."""


def _op_macs(op: Op) -> int:
    if op.kind in _MATRIX_PRODUCTS:
        # Activations stand on the left: their last side is the one that is summed over.
        return math.prod(op.out) * op.ins[0][-1]
    if op.kind not in _CONVOLUTIONS:
        return 0
    weight = math.prod(op.weights[0])
    positions = op.ins[0][1:] if op.kind == "conv_transpose" else op.out[1:]
    return weight * math.prod(positions)


def _paper_rule(op: Op) -> int:
    if op.kind in _CONVOLUTIONS:
        bias = math.prod(op.out) if len(op.weights) > 1 else 0
        return _op_macs(op) + bias
    if op.module == "AdaptiveAvgPool2d":
        channels, height, width = op.ins[0]
        return channels * (height + 1) * (width + 1)
    return _PAPER_RULES.get(op.module, _nothing)(op)


def _thop_rule(op: Op) -> int:
    if op.kind == "conv_transpose":
        in_channels, _, *window = op.weights[0]
        return math.prod(op.out) * in_channels * math.prod(window)
    if op.module == "AdaptiveAvgPool2d":
        window_size = Fraction(math.prod(op.ins[0][1:]), math.prod(op.out[1:]))
        return int((window_size + 1) * math.prod(op.out))
    return _op_macs(op) + _THOP_RULES.get(op.module, _nothing)(op)


def _nothing(op: Op) -> int:
    del op
    return 0


_PAPER_RULES: dict[str, Callable[[Op], int]] = {
    "BatchNorm2d": lambda op: 2 * math.prod(op.ins[0]),
    "ReLU": lambda op: math.prod(op.ins[0]),
    "ReLU6": lambda op: math.prod(op.ins[0]),
    "MaxPool2d": lambda op: op.window * math.prod(op.out),
    "Upsample": lambda op: math.prod(op.out[1:]),
}

_THOP_RULES: dict[str, Callable[[Op], int]] = {
    "BatchNorm2d": lambda op: 4 * math.prod(op.ins[0]),
    "AvgPool2d": lambda op: math.prod(op.out),
    "Upsample": lambda op: math.prod(op.out),
}
