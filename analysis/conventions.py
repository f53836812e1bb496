"""Counting conventions: pure functions of operations.

Ten profilers give one network ten numbers because they count different things. Each function
here is one way to count; none of them looks at a spec or a module, so they serve closed-form and
recorded operations alike. All results are whole numbers, for one image, in units (no mega).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from analysis.emulations import (
    bias_additions,
    by_fvcore,
    by_mmcv,
    by_paper,
    by_ptflops,
    by_thop,
    by_torch,
    op_macs,
)
from blocks import Op, Shape

COPIES = frozenset(
    {
        *("cat", "stack", "clone", "copy", "_to_copy", "_unsafe_view", "contiguous", "repeat"),
        *("upsample_nearest", "constant_pad_nd", "roll", "flip", "index", "index_select"),
        *("gather", "embedding", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
        *("arange", "zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "fill"),
        *("zero", "scalar_tensor", "new_zeros", "new_ones", "new_full"),
    }
)
"""Kinds that move or make numbers without computing any."""

_BYTES_OF_A_NUMBER = 4


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

    For operations that are all read: the tool does not see what nobody reads, such as the coarser
    sums of a last fusion before a head on branch 0. ``measure_cost`` leaves these out.
    """
    return sum(shares("fvcore", ops))


def thop(ops: Sequence[Op]) -> int:
    """What ``thop.profile(module)`` prints first for our module ("MACs") in eval mode.

    It counts four times the elements of a batch norm, and transposed convolutions at the output's
    resolution.
    """
    return sum(shares("thop", ops))


def published_execution(ops: Sequence[Op]) -> int:
    """Multiply-accumulates as the published code executes them.

    The released code of Lite-HRNet runs some paths of its fusion twice on the same input where
    ours doubles the result; everything else is as in ``macs``. Recorded operations do not know
    of published code, so there it equals ``macs``.
    """
    return sum(shares("published_execution", ops))


def flops(ops: Sequence[Op]) -> int:
    """Floating-point operations: two for each multiply-accumulate, and the element-wise ones.

    * A convolution or matrix product: 2 for each multiply-accumulate, and 1 for each output
      element if it has a bias.
    * A batch norm: 2 for each element (its statistics are fixed).
    * A pooling over windows: the window's size for each output element.
    * A bilinear upsampling: 7 for each output element (four products, three sums).
    * What only moves numbers (``COPIES``: concatenation, stacking, nearest upsampling): 0.
    * Anything else (activation, sum, product, mean): 1 for each element of its output or of its
      largest input, whichever has more.
    """
    return sum(shares("flops", ops))


def activations(ops: Sequence[Op]) -> int:
    """Output elements of all convolutions and matrix products.

    What ``fvcore.nn.ActivationCountAnalysis(module).total()`` prints.
    """
    return sum(shares("activations", ops))


def bytes_moved(ops: Sequence[Op]) -> int:
    """Bytes that all calls read and write: 4 for each element of inputs, weights and output.

    Every call reads its learnable weights and its inputs and writes its output once, as if
    nothing stayed in a cache; running statistics are left out.
    """
    return sum(shares("bytes_moved", ops))


def kernels(ops: Sequence[Op]) -> int:
    """Calls that touch memory, each of them one kernel in eager execution."""
    return sum(shares("kernels", ops))


def ptflops(ops: Sequence[Op]) -> int:
    """What ``ptflops.get_model_complexity_info(module)`` gives first for our module in eval mode.

    With its default backend, "pytorch", which counts bias, batch norm, ReLU (as a module and
    again as a function), pooling and upsampling; its backend "aten" counts multiply-accumulates
    and bias alone.
    """
    return sum(shares("ptflops", ops))


def mmcv(ops: Sequence[Op]) -> int:
    """What mmcv's counter prints for the published code, as in mmpose's tables of speed.

    Bias, batch norm, ReLU, pooling and upsampling modules count, and every call does. The tool
    itself is not run here; its rule gives the figures that mmpose prints.
    """
    return sum(shares("mmcv", ops))


def torch(ops: Sequence[Op]) -> int:
    """What PyTorch's ``FlopCounterMode`` prints for our module: two for a multiply-accumulate."""
    return sum(shares("torch", ops))


CONVENTIONS: dict[str, Callable[[Sequence[Op]], int]] = {
    "macs": macs,
    "params": params,
    "paper": paper,
    "fvcore": fvcore,
    "thop": thop,
    "published_execution": published_execution,
    "flops": flops,
    "activations": activations,
    "bytes_moved": bytes_moved,
    "kernels": kernels,
    "ptflops": ptflops,
    "mmcv": mmcv,
    "torch": torch,
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
        by_paper(op) if op.module and last[op.address] == index else 0
        for index, op in enumerate(ops)
    ]


def _flops_of(op: Op) -> int:
    counted = 2 * op_macs(op)
    if counted:
        return counted + bias_additions(op)
    if op.kind in COPIES:
        return 0
    num_out = math.prod(op.out)
    if op.window:
        return op.window * num_out
    factor = _FLOPS_PER_ELEMENT.get(op.kind, 1)
    return factor * max(num_out, *map(math.prod, op.ins), 0)


def _bytes_of(op: Op) -> int:
    num_elements = sum(map(math.prod, op.ins)) + math.prod(op.out) + op.num_weights
    return _BYTES_OF_A_NUMBER * num_elements


_FLOPS_PER_ELEMENT = {"batch_norm": 2, "upsample_bilinear": 7}

_SHARES: dict[str, Callable[[Sequence[Op]], list[int]]] = {
    "macs": _each(op_macs),
    "params": _params_shares,
    "paper": _paper_shares,
    "fvcore": _each(by_fvcore),
    "thop": _each(by_thop),
    "published_execution": _each(lambda op: op_macs(op) * op.published_runs),
    "flops": _each(_flops_of),
    "activations": _each(lambda op: math.prod(op.out) if op_macs(op) else 0),
    "bytes_moved": _each(_bytes_of),
    "kernels": lambda ops: [1] * len(ops),
    "ptflops": _each(by_ptflops),
    "mmcv": _each(by_mmcv),
    "torch": _each(by_torch),
}
