"""Counting conventions: pure functions of operations.

Ten profilers give one network ten numbers because they count different things. Each function
here is one way to count; none of them looks at a spec or a module, so they serve closed-form and
recorded operations alike. All results are whole numbers, for one image, in units (no mega).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from analysis.emulations import (
    Amounts,
    amounts_of,
    by_fvcore,
    by_mmcv,
    by_paper,
    by_ptflops,
    by_thop,
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
_KEPT_CALLS = 20_000

OpKey = tuple[str, tuple[Shape, ...], Shape, tuple[Shape, ...], int, str, int, int | None]
"""The fields of an operation on which its counts depend, in the order of ``Op``."""


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
    of published code, so this is left out for modules that are none of ours.
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


OF_PUBLISHED_CODE = frozenset({"published_execution", "mmcv"})
"""Conventions that count what published code executes, which only a spec's operations know of."""


def shares(name: str, ops: Sequence[Op]) -> list[int]:
    """Returns what each operation adds to a convention's number.

    A module that a convention counts once although it runs several times has its whole share at
    one of its calls, so parts of a network add up to the whole however they are cut.

    Args:
        name: A key of ``CONVENTIONS``.
        ops: All operations of the network, in order.
    """
    place = _PLACES[name]
    each = [_counts_of(op)[place] for op in ops]
    counted = _COUNTED_CALLS.get(name)
    if counted is None:
        return each
    return [n if is_counted else 0 for n, is_counted in zip(each, counted(ops), strict=True)]


def all_shares(ops: Sequence[Op]) -> dict[str, list[int]]:
    """Returns ``shares`` of every convention."""
    return {name: shares(name, ops) for name in CONVENTIONS}


def convention_rule(name: str) -> str:
    """Returns what a convention counts, in one line."""
    return (CONVENTIONS[name].__doc__ or "").splitlines()[0].replace("``", "")


@lru_cache(maxsize=_KEPT_CALLS)
def call_counts(  # noqa: PLR0913, PLR0917 - the fields of an operation that are counted
    kind: str,
    ins: tuple[Shape, ...],
    out: Shape,
    weights: tuple[Shape, ...],
    window: int,
    module: str,
    published_runs: int,
    recorded_macs: int | None,
) -> tuple[int, ...]:
    """Returns what one call counts by every convention, in the order of ``CONVENTIONS``.

    A convention that counts a module once takes only one of its calls (``shares``).
    """
    op = Op(
        *(kind, ins, out, weights, window, "", module),
        published_runs=published_runs,
        recorded_macs=recorded_macs,
    )
    amounts = amounts_of(op)
    return tuple([rule(op, amounts) for rule in _RULES.values()])


def _counts_of(op: Op) -> tuple[int, ...]:
    return call_counts(
        *(op.kind, op.ins, op.out, op.weights, op.window, op.module),
        *(op.published_runs, op.recorded_macs),
    )


def _first_calls(ops: Sequence[Op]) -> list[bool]:
    """Which calls are the first to use their weights."""
    seen: set[tuple[str, str, tuple[Shape, ...]]] = set()
    found = []
    for op in ops:
        key = (op.address, op.kind, op.weights)
        found.append(key not in seen)
        seen.add(key)
    return found


def _last_calls(ops: Sequence[Op]) -> list[bool]:
    """Which calls are the last of their leaf module."""
    last = {op.address: index for index, op in enumerate(ops) if op.module}
    return [bool(op.module) and last[op.address] == index for index, op in enumerate(ops)]


def _flops_of(op: Op, n: Amounts) -> int:
    if n.macs:
        return 2 * n.macs + n.bias
    if op.kind in COPIES:
        return 0
    if op.window:
        return op.window * n.written
    factor = _FLOPS_PER_ELEMENT.get(op.kind, 1)
    return factor * max(n.written, *map(math.prod, op.ins), 0)


def _bytes_of(op: Op, n: Amounts) -> int:
    num_elements = sum(map(math.prod, op.ins)) + n.written + n.weights
    return _BYTES_OF_A_NUMBER * num_elements


_FLOPS_PER_ELEMENT = {"batch_norm": 2, "upsample_bilinear": 7}

_RULES: dict[str, Callable[[Op, Amounts], int]] = {
    "macs": lambda _, n: n.macs,
    "params": lambda _, n: n.weights,
    "paper": by_paper,
    "fvcore": by_fvcore,
    "thop": by_thop,
    "published_execution": lambda op, n: n.macs * op.published_runs,
    "flops": _flops_of,
    "activations": lambda _, n: n.written if n.macs else 0,
    "bytes_moved": _bytes_of,
    "kernels": lambda _op, _n: 1,
    "ptflops": by_ptflops,
    "mmcv": by_mmcv,
    # PyTorch's formulas count two for each multiply-accumulate.
    "torch": lambda _, n: 2 * n.macs,
}
assert list(_RULES) == list(CONVENTIONS), "rules stand in the order of the conventions"

_PLACES = {name: place for place, name in enumerate(CONVENTIONS)}

_COUNTED_CALLS: dict[str, Callable[[Sequence[Op]], list[bool]]] = {
    "params": _first_calls,
    "paper": _last_calls,
}
"""Conventions that count a module once although it may run several times, and when they do."""
