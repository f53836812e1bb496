"""What each runtime is expected to execute of a network that never ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from analysis.execution.blocked import blocked_kernels
from analysis.execution.channels_last import channels_last_kernels
from analysis.execution.dataflow import dataflow
from analysis.execution.kernels import (
    Kernel,
    convolution,
    movement,
    pooled_window,
    transposed_convolution,
)
from blocks import ImageSize, Op
from networks import NetworkSpec

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
    if op.kind == "convolution":
        filters = op.weights[0] if op.weights else (op.out[0], 1, *op.ins[1][-2:])
        return convolution(op.ins[0], filters, op.out, mark="" if op.weights else "computed")
    if op.kind == "conv_transpose":
        window = op.weights[0][-1] * op.weights[0][-2]
        return transposed_convolution(op.ins[0], op.out, window)
    window = pooled_window(op.ins[0], op.out) if op.kind in _POOLS else 1
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
