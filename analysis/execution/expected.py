"""What each runtime is expected to execute of a network that never ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from analysis.execution.blocked import blocked_kernels
from analysis.execution.channels_last import channels_last_kernels
from analysis.execution.dataflow import dataflow
from analysis.execution.fusing import filters_of, is_plain
from analysis.execution.kernels import (
    Kernel,
    convolution,
    movement,
    pooled_window,
    transposed_convolution,
)
from blocks import ImageSize, Op
from networks import NetworkSpec

_MAPS = 3
_POOLS = frozenset({"avg_pool", "max_pool"})


def expected_kernels(runtime: str, spec: NetworkSpec, size: ImageSize) -> tuple[Kernel, ...]:
    """Returns the kernels that a runtime makes of a network, from the spec alone.

    Args:
        runtime: Its name; one that is not known here is taken to execute every operation.
        spec: The network.
        size: The image's size.

    Raises:
        BranchworkError: If a stride does not divide the image.
    """
    return _RUNTIMES.get(runtime, _one_by_one)(spec, size)


def one_by_one(ops: Sequence[Op]) -> tuple[Kernel, ...]:
    """Returns a kernel for every operation."""
    return tuple(map(_kernel, ops))


def _kernel(op: Op) -> Kernel:
    is_map = len(op.out) == _MAPS
    if op.kind == "convolution" and is_map:
        mark = "" if is_plain(op) else "computed"
        return convolution(op.ins[0], filters_of(op), op.out, mark=mark)
    if op.kind == "conv_transpose" and is_map and is_plain(op):
        window = op.weights[0][-1] * op.weights[0][-2]
        return transposed_convolution(op.ins[0], op.out, window)
    window = pooled_window(op.ins[0], op.out) if op.kind in _POOLS and op.ins else 1
    return movement(op.kind, op.ins, op.out, window=window)


def _one_by_one(spec: NetworkSpec, size: ImageSize) -> tuple[Kernel, ...]:
    return one_by_one(spec.operations(size))


def _blocked(spec: NetworkSpec, size: ImageSize) -> tuple[Kernel, ...]:
    return blocked_kernels(dataflow(spec, size))


def _channels_last(spec: NetworkSpec, size: ImageSize) -> tuple[Kernel, ...]:
    return channels_last_kernels(dataflow(spec, size))


_RUNTIMES: Mapping[str, Callable[[NetworkSpec, ImageSize], tuple[Kernel, ...]]] = {
    "onnxruntime": _blocked,
    "openvino": _channels_last,
}
