"""Writes average pooling as a depthwise convolution with constant weights."""

from __future__ import annotations

from typing import Any

from torch import fx

from networks.deploy.building import Rebuilding, address_of, arguments_of, aten, is_maps, shape_of
from networks.deploy.convolutions import tiling

_LARGEST = 8
"""Sides of a window over which a mean is taken at once: each sum waits for the one before."""


def pools_to_convolutions(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which averages over windows that tile the maps are convolutions.

    Runtimes have fast depthwise convolutions in whatever order they keep channels in memory, and
    often a slow average pooling for one order alone: in ONNX Runtime on a CPU, a network with
    conditional channel weighting spends a sixth of its time there.

    Args:
        module: A graph; it is left as it is.
    """
    return Rebuilding(module).run({aten.avg_pool2d.default: _convolve})


def means_to_convolutions(module: fx.GraphModule, block: int) -> fx.GraphModule:
    """Writes a graph anew in which means over all places are convolutions, one behind another.

    It is done where channels do not come in whole blocks: ONNX Runtime, which keeps them in
    blocks, can pool nothing else so.

    Args:
        module: A graph; it is left as it is.
        block: Channels of a block.
    """

    def convolve(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
        source, sides, *_ = arguments_of(node)
        is_mean = is_maps(node) and is_maps(source) and {side % 4 for side in sides} == {2, 3}
        if not is_mean or node.kwargs or not shape_of(node)[1] % block:
            return None
        made = rebuilding[source]
        while shape_of(made)[2:] != (1, 1):
            windows = tuple(map(_window, shape_of(made)[2:]))
            made = _average(rebuilding, made, windows, address_of(node))
        return made

    return Rebuilding(module).run({aten.mean.dim: convolve})


def _window(side: int) -> int:
    """Returns the largest window that is not large and tiles a side; the side where none does."""
    return next((size for size in range(_LARGEST, 1, -1) if side % size == 0), side)


def is_tiling(node: fx.Node) -> bool:
    """Tells whether a node is an average over windows that tile the maps.

    Args:
        node: Any node.
    """
    if node.target is not aten.avg_pool2d.default:
        return False
    source, kernel, *rest = arguments_of(node)
    # Stride, padding, rounding, whether padding counts, divisor: what is not said is usual.
    usual: tuple[Any, ...] = ([], 0, False, True, None)
    stride, padding, _, _, divisor = (*rest, *usual[len(rest) :])
    if not is_maps(node) or divisor is not None or padding not in (0, [0], [0, 0]):
        return False
    sides = zip(shape_of(source)[2:], _windows(kernel), shape_of(node)[2:], strict=True)
    return stride in ([], kernel) and all(side == window * n for side, window, n in sides)


def _windows(kernel: list[int]) -> tuple[int, ...]:
    return (*kernel, *kernel)[:2]


def _convolve(rebuilding: Rebuilding, node: fx.Node) -> fx.Node | None:
    if not is_tiling(node):
        return None
    source, kernel, *_ = arguments_of(node)
    windows = _windows(kernel)
    return _average(rebuilding, rebuilding[source], windows, address_of(node))


def _average(
    rebuilding: Rebuilding, source: fx.Node, windows: tuple[int, ...], address: str
) -> fx.Node:
    size = (shape_of(source)[1], 1, *windows)
    weight = rebuilding.any_constant.new_full(size, 1 / (windows[0] * windows[1]))
    return tiling(source, weight, what="pool", address=address).write(rebuilding.build)
