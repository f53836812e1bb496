"""Writes average pooling as a depthwise convolution with constant weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from networks.deploy.building import Rebuilding, address_of, arguments_of, aten, is_maps, shape_of
from networks.deploy.convolutions import Convolution


def pools_to_convolutions(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which averages over windows that tile the maps are convolutions.

    Runtimes have fast depthwise convolutions in whatever order they keep channels in memory, and
    often a slow average pooling for one order alone: in ONNX Runtime on a CPU, a network with
    conditional channel weighting spends a sixth of its time there.

    Args:
        module: A graph; it is left as it is.
    """
    return Rebuilding(module).run({aten.avg_pool2d.default: _convolve})


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
    channels = shape_of(node)[1]
    like = rebuilding.any_constant
    weight = like.new_full((channels, 1, *windows), 1 / (windows[0] * windows[1]))
    address = address_of(node)
    return Convolution(
        source=rebuilding[source],
        name=f"{address}.pool.weight" if address else "pool.weight",
        weight=weight,
        bias=torch.zeros_like(weight[:, 0, 0, 0]),
        stride=windows,
        padding=(0, 0),
        dilation=(1, 1),
        transposed=False,
        output_padding=(0, 0),
        groups=channels,
        address=address,
    ).write(rebuilding.build)
