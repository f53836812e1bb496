"""ONNX for convolutions, poolings and resizings: operators with a window over an image's places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from networks.deploy.building import aten
from networks.deploy.onnx_calls import Attributes, Call, Converter, Value


def _convolution(call: Call) -> Value:
    transposed = call["transposed"]
    inputs = [call.value("input"), call.value("weight"), call.value("bias")]
    window = call.shape("weight")[2:]
    attributes: dict[str, int | float | str | Sequence[int]] = {
        "kernel_shape": window,
        "strides": _each(call["stride"], len(window)),
        "pads": 2 * _each(call["padding"], len(window)),
        "dilations": _each(call["dilation"], len(window)),
        "group": call["groups"],
    }
    if transposed:
        attributes["output_padding"] = _each(call["output_padding"], len(window))
    return call.add("ConvTranspose" if transposed else "Conv", inputs, attributes)


def _average_pool(call: Call) -> Value:
    kernel = _each(call["kernel_size"], 2)
    stride, pads, overhang = _pooling(call)
    if any(overhang) and any(pads) and call["count_include_pad"]:
        raise call.refuse(
            "an average pooling either pads or rounds its output up, not both",
            f"padding {call['padding']} with ceil_mode",
            "leave ceil_mode or count_include_pad out",
        )
    attributes: Attributes = {
        "kernel_shape": kernel,
        "strides": stride,
        "pads": [*pads, *(pad + more for pad, more in zip(pads, overhang, strict=True))],
        # What hangs over the edge does not count, padding does unless it is said not to.
        "count_include_pad": int(call["count_include_pad"] and not any(overhang)),
    }
    pooled = call.add("AveragePool", [call.value("self")], attributes)
    if not call.has("divisor_override"):
        return pooled
    factor = math.prod(kernel) / call["divisor_override"]
    return call.add("Mul", [pooled, call.number(factor)])


def _max_pool(call: Call) -> Value:
    stride, pads, overhang = _pooling(call)
    attributes: Attributes = {
        "kernel_shape": _each(call["kernel_size"], 2),
        "strides": stride,
        "pads": [*pads, *(pad + more for pad, more in zip(pads, overhang, strict=True))],
        "dilations": _dilation(call),
    }
    return call.add("MaxPool", [call.value("self")], attributes)


def _first(convert: Converter, call: Call) -> tuple[Value, ...]:
    """Several results in PyTorch, of which only the first can be exported."""
    made = convert(call)
    assert isinstance(made, str)
    return (made,)


def _pooling(call: Call) -> tuple[list[int], list[int], list[int]]:
    """Returns stride, padding, and by how much the last window hangs over the padded image."""
    kernel = _each(call["kernel_size"], 2)
    stride = _each(call["stride"] or kernel, 2)
    pads = _each(call["padding"], 2)
    overhang = []
    for index, dilation in enumerate(_dilation(call)):
        reach = dilation * (kernel[index] - 1) + 1
        covered = (call.out[index - 2] - 1) * stride[index] + reach
        overhang.append(max(0, covered - call.shape("self")[index - 2] - 2 * pads[index]))
    return stride, pads, overhang


def _dilation(call: Call) -> list[int]:
    return _each(call["dilation"], 2) if call.has("dilation") else [1, 1]


def _adaptive_average_pool(call: Call) -> Value:
    """Windows of one size where they are; else two products with matrices of fractions."""
    image, out = call.shape("self"), call.out
    if out[-2:] == (1, 1):
        return call.add("GlobalAveragePool", [call.value("self")])
    if all(side % part == 0 for side, part in zip(image[-2:], out[-2:], strict=True)):
        return call.add("AveragePool", [call.value("self")], _even_windows(image, out))
    rows = call.floats("rows", _fractions(image[-2], out[-2]))
    columns = call.floats("columns", _fractions(image[-1], out[-1]).T)
    return call.add("MatMul", [call.add("MatMul", [rows, call.value("self")]), columns])


def _adaptive_max_pool(call: Call) -> tuple[Value, ...]:
    image, out = call.shape("self"), call.out
    if any(side % part for side, part in zip(image[-2:], out[-2:], strict=True)):
        raise call.refuse(
            "an adaptive max pooling is exported where its windows are of one size",
            f"{image[-2]}x{image[-1]} to {out[-2]}x{out[-1]}",
            "choose an image size that it divides evenly",
        )
    return (call.add("MaxPool", [call.value("self")], _even_windows(image, out)),)


def _even_windows(image: Sequence[int], out: Sequence[int]) -> Attributes:
    window = [image[-2] // out[-2], image[-1] // out[-1]]
    return {"kernel_shape": window, "strides": window}


def _fractions(side: int, out: int) -> Tensor:
    """Returns which share of each output every place has: window k runs from kI/O to (k + 1)I/O."""
    shares = torch.zeros(out, side, dtype=torch.float64)
    for index in range(out):
        start, end = index * side // out, -((-(index + 1) * side) // out)
        shares[index, start:end] = 1 / (end - start)
    return shares


def _resize(attributes: Attributes, call: Call) -> Value:
    """Writes a resizing; the scales that PyTorch goes by where they were given, else the sizes."""
    value = call.value("self" if call.has("self") else "input")
    image = call.shape("self" if call.has("self") else "input")
    if tuple(image) == tuple(call.out):
        return value
    factors = _factors(call)
    ratios = [out / side for out, side in zip(call.out[-2:], image[-2:], strict=True)]
    scales = [factor or ratio for factor, ratio in zip(factors, ratios, strict=True)]
    is_by_scale = all(
        int(scale * side) == out
        for scale, side, out in zip(scales, image[-2:], call.out[-2:], strict=True)
    )
    if is_by_scale and (any(factors) or all(scale.is_integer() for scale in scales)):
        return call.add("Resize", [value, "", call.scales([1, 1, *scales])], attributes)
    sizes = call.integers("sizes", call.out)
    return call.add("Resize", [value, "", "", sizes], attributes)


def _factors(call: Call) -> list[float | None]:
    if call.has("scale_factors"):
        return list(call["scale_factors"])
    if call.has("scales_h") or call.has("scales_w"):
        return [call["scales_h"], call["scales_w"]]
    return [None, None]


def _interpolate(mode: Attributes, call: Call) -> Value:
    """With aligned corners only sizes count, and otherwise pixels are squares with centres."""
    if call["align_corners"]:
        value = call.value("self" if call.has("self") else "input")
        attributes: Attributes = {**mode, "coordinate_transformation_mode": "align_corners"}
        return call.add("Resize", [value, "", "", call.integers("sizes", call.out)], attributes)
    return _resize({**mode, "coordinate_transformation_mode": "half_pixel"}, call)


def _each(given: Any, rank: int) -> list[int]:  # noqa: ANN401 - a number or a list
    """Returns one number for each dimension, as PyTorch repeats a single one."""
    numbers = list(given) if isinstance(given, Sequence) else [given]
    return numbers * rank if len(numbers) == 1 else numbers


_NEAREST: Attributes = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}

CONVERTERS: dict[Any, Converter] = {
    aten.convolution.default: _convolution,
    aten.avg_pool2d.default: _average_pool,
    aten.max_pool2d.default: _max_pool,
    aten.max_pool2d_with_indices.default: partial(_first, _max_pool),
    aten.adaptive_avg_pool2d.default: _adaptive_average_pool,
    aten._adaptive_avg_pool2d.default: _adaptive_average_pool,  # noqa: SLF001 - the operator's name
    aten.adaptive_max_pool2d.default: _adaptive_max_pool,
    **dict.fromkeys(
        (aten.upsample_nearest2d.default, aten.upsample_nearest2d.vec), partial(_resize, _NEAREST)
    ),
    **dict.fromkeys(
        (aten.upsample_bilinear2d.default, aten.upsample_bilinear2d.vec),
        partial(_interpolate, {"mode": "linear"}),
    ),
    **dict.fromkeys(
        (aten.upsample_bicubic2d.default, aten.upsample_bicubic2d.vec),
        partial(_interpolate, {"mode": "cubic", "cubic_coeff_a": -0.75}),
    ),
}
"""By operator, how it is written."""
