"""Counting conventions: pure functions of operations.

Ten profilers give one network ten numbers because they count different things. Each function
here is one way to count; none of them looks at a spec or a module, so they serve closed-form and
recorded operations alike. All results are whole numbers, for one image, in units (no mega).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from blocks import Op, Shape

_CONVOLUTIONS = frozenset({"convolution", "conv_transpose"})
_MATRIX_PRODUCTS = frozenset({"linear", "addmm", "mm", "baddbmm", "bmm"})


def macs(ops: Sequence[Op]) -> int:
    """Multiply-accumulates of all convolutions and matrix products as our modules execute them.

    The headline: no bias, no batch norm, no activation, every executed call once.
    """
    return sum(shares("macs", ops))


def params(ops: Sequence[Op]) -> int:
    """Learnable values; a module that runs twice is counted once."""
    return sum(shares("params", ops))


def paper(ops: Sequence[Op]) -> int:
    """The published FLOPs of the Lite-HRNet family, as a raw integer (they are printed / 2^20).

    Every leaf module counts once, by its last call: convolution with its bias, twice the input
    elements of a batch norm, the input elements of a ReLU, windows of max poolings, C·(H+1)·(W+1)
    for a pooling to one point, H·W for an upsampling module. Plain functions count nothing.
    """
    return sum(shares("paper", ops))


def fvcore(ops: Sequence[Op]) -> int:
    """What ``fvcore.nn.FlopCountAnalysis(module).total()`` prints for our module in eval mode.

    For networks whose every branch is read: the tool does not see what nobody reads, such as the
    coarser sums of a last fusion before a head on branch 0, and this function counts what runs.
    """
    return sum(shares("fvcore", ops))


def thop(ops: Sequence[Op]) -> int:
    """What ``thop.profile(module)`` prints first for our module ("MACs") in eval mode.

    It counts four times the elements of a batch norm, and transposed convolutions at the output's
    resolution.
    """
    return sum(shares("thop", ops))


CONVENTIONS: dict[str, Callable[[Sequence[Op]], int]] = {
    "macs": macs,
    "params": params,
    "paper": paper,
    "fvcore": fvcore,
    "thop": thop,
}
"""All conventions by name, the headline first."""


def shares(name: str, ops: Sequence[Op]) -> list[int]:
    """Returns what each operation adds to a convention's number.

    A module that a convention counts once although it runs several times has its whole share at
    one of its calls, so parts of a network add up to the whole however they are cut.

    Args:
        name: A key of ``CONVENTIONS``.
        ops: All operations of the network, in order.
    """
    return _SHARES[name](ops)


def convention_rule(name: str) -> str:
    """Returns what a convention counts, in one line."""
    return (CONVENTIONS[name].__doc__ or "").splitlines()[0].replace("``", "")


def _each(rule: Callable[[Op], int]) -> Callable[[Sequence[Op]], list[int]]:
    return lambda ops: [rule(op) for op in ops]


def _params_shares(ops: Sequence[Op]) -> list[int]:
    seen: set[tuple[str, str, tuple[Shape, ...]]] = set()
    counted = []
    for op in ops:
        key = (op.address, op.kind, op.weights)
        counted.append(0 if key in seen else op.num_weights)
        seen.add(key)
    return counted


def _paper_shares(ops: Sequence[Op]) -> list[int]:
    last = {op.address: index for index, op in enumerate(ops) if op.module}
    return [
        _paper_rule(op) if op.module and last[op.address] == index else 0
        for index, op in enumerate(ops)
    ]


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


def _fvcore_rule(op: Op) -> int:
    if op.kind == "batch_norm":
        return 2 * math.prod(op.ins[0])
    if op.kind == "upsample_nearest":
        return math.prod(op.out)
    if op.kind == "upsample_bilinear":
        return 4 * math.prod(op.out)
    if op.module == "AdaptiveAvgPool2d":
        return math.prod(op.ins[0])
    return _op_macs(op)


def _thop_rule(op: Op) -> int:
    if not op.module:
        return 0
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

_SHARES: dict[str, Callable[[Sequence[Op]], list[int]]] = {
    "macs": _each(_op_macs),
    "params": _params_shares,
    "paper": _paper_shares,
    "fvcore": _each(_fvcore_rule),
    "thop": _each(_thop_rule),
}
