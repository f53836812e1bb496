"""ONNX for operators that move numbers and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from blocks import Shape
from networks.deploy.building import aten
from networks.deploy.onnx_calls import Call, Converter, Value

_MAPS = 4
"""Dimensions of a batch of maps."""


def _reshape(call: Call) -> Value:
    if call.out == call.shape("self"):
        return call.value("self")
    return call.reshape(call.value("self"), call.out)


def _same(call: Call) -> Value:
    """Copies make no difference where nothing is written in place."""
    if not call.is_own_type("dtype"):
        raise call.refuse(
            "a network keeps one type of numbers throughout",
            str(call["dtype"]),
            "leave the conversion out",
        )
    return call.value("self")


def _permute(call: Call) -> Value:
    return _transposed(call, call["dims"])


def _transpose(call: Call) -> Value:
    order = list(range(len(call.shape("self"))))
    first, second = call["dim0"], call["dim1"]
    order[first], order[second] = order[second], order[first]
    return _transposed(call, order)


def _transpose_matrix(call: Call) -> Value:
    return _transposed(call, range(len(call.shape("self")))[::-1])


def _transposed(call: Call, order: Sequence[int]) -> Value:
    rank = len(call.shape("self"))
    order = [each % rank for each in order]
    return call.add("Transpose", [call.value("self")], {"perm": order})


def _concat(call: Call) -> Value:
    return call.add("Concat", call.values("tensors"), {"axis": call["dim"] % len(call.out)})


def _stack(call: Call) -> Value:
    axis = call["dim"] % len(call.out)
    shape = (*call.out[:axis], 1, *call.out[axis + 1 :])
    parts = [call.reshape(part, shape) for part in call.values("tensors")]
    return call.add("Concat", parts, {"axis": axis})


def _slice(call: Call) -> Value:
    axis = call["dim"] % len(call.out)
    side = call.shape("self")[axis]
    start, end, step = slice(call["start"], call["end"], call["step"]).indices(side)
    if (start, end, step) == (0, side, 1):
        return call.value("self")
    where = {"starts": start, "ends": end, "axes": axis, "steps": step}
    inputs = [call.integers(what, [number]) for what, number in where.items()]
    return call.add("Slice", [call.value("self"), *inputs])


def _select(call: Call) -> Value:
    axis = call["dim"] % len(call.shape("self"))
    index = call.integers("index", call["index"] % call.shape("self")[axis])
    return call.add("Gather", [call.value("self"), index], {"axis": axis})


def _index_select(call: Call) -> Value:
    axis = call["dim"] % len(call.out)
    order = call.constant(call["index"])
    if (axis, len(call.out)) == (1, _MAPS) and order is not None:
        places = order.reshape(-1).tolist()
        return _pick_channels(call, call.value("self"), call.shape("self"), places)
    return call.add("Gather", [call.value("self"), call.value("index")], {"axis": axis})


def _index(call: Call) -> Value:
    """One list of places along one dimension: ``x[:, [2, 0, 1]]``."""
    indices = [(axis, each) for axis, each in enumerate(call["indices"]) if each is not None]
    (axis, index), *others = indices
    order = call.constant(index)
    if others or order is None or order.ndim != 1 or order.dtype is not torch.int64:
        raise call.refuse(
            "places are picked along one dimension, and the same of every image",
            f"{len(indices)} indices, or one that was computed",
            "pick with one list of numbers",
        )
    shape = call.shape("self")
    places = (order % shape[axis]).tolist()
    if (axis, len(shape)) == (1, _MAPS):
        return _pick_channels(call, call.value("self"), shape, places)
    return call.add("Gather", [call.value("self"), call.integers("order", places)], {"axis": axis})


def _pick_channels(call: Call, value: Value, shape: Shape, order: Sequence[int]) -> Value:
    """Picks channels of maps; what shuffles them is written as what runtimes know a shuffle by.

    OpenVINO (2026.4) takes a gather of the channels of maps for one that turns RGB into BGR, which
    undoes itself, and moves it into the convolutions behind it: wrong for every other order. So
    the rows of gathered maps lie in one line.
    """
    batch, channels, height, width = shape
    groups = _num_groups(order, channels)
    if groups:
        parts = call.reshape(value, (batch, groups, channels // groups, height * width))
        turned = call.add("Transpose", [parts], {"perm": [0, 2, 1, 3]})
        return call.reshape(turned, call.out)
    lines = call.reshape(value, (batch, channels, height * width))
    places = call.integers("order", order)
    return call.reshape(call.add("Gather", [lines, places], {"axis": 1}), call.out)


def _num_groups(order: Sequence[int], channels: int) -> int:
    """Returns how many groups of channels an order interleaves, 0 if it does something else."""
    size = order[1] - order[0] if len(order) > 1 and order[0] == 0 else 0
    # The second channel is the first one of the second group; size 1 leaves all as they are.
    if size <= 1 or channels % size or len(order) != channels:
        return 0
    groups = channels // size
    return groups if list(order) == _shuffled(channels, groups) else 0


def _shuffled(channels: int, groups: int) -> list[int]:
    size = channels // groups
    return [part * size + index for index in range(size) for part in range(groups)]


def _channel_shuffle(call: Call) -> Value:
    channels = call.out[1]
    order = _shuffled(channels, call["groups"])
    return _pick_channels(call, call.value("self"), call.shape("self"), order)


def _split(call: Call) -> tuple[Value, ...]:
    axis = call["dim"] % len(call.shape("self"))
    sides = [shape[axis] for shape in call.outs]
    inputs = [call.value("self"), call.integers("split", sides)]
    return call.add_many("Split", inputs, len(sides), {"axis": axis})


def _unbind(call: Call) -> tuple[Value, ...]:
    axis, count = call["dim"] % len(call.shape("self")), len(call.outs)
    inputs = [call.value("self"), call.integers("split", [1] * count)]
    parts = call.add_many("Split", inputs, count, {"axis": axis})
    return tuple(call.reshape(part, shape) for part, shape in zip(parts, call.outs, strict=True))


def _expand(call: Call) -> Value:
    if call.out == call.shape("self"):
        return call.value("self")
    return call.add("Expand", [call.value("self"), call.integers("shape", call.out)])


def _repeat(call: Call) -> Value:
    given = call.shape("self")
    shape = (*[1] * (len(call.out) - len(given)), *given)
    value = call.value("self") if shape == given else call.reshape(call.value("self"), shape)
    return call.add("Tile", [value, call.integers("repeats", call["repeats"])])


def _pad_constant(call: Call) -> Value:
    return _padded(call, call["pad"], "constant", [call.value("value")])


def _pad_like(mode: str, call: Call) -> Value:
    return _padded(call, call["padding"], mode, [])


def _padded(call: Call, sides: Sequence[int], mode: str, fill: list[Value]) -> Value:
    """PyTorch names sides from the last dimension on, ONNX all starts and then all ends."""
    rank = len(call.out)
    before, after = [0] * rank, [0] * rank
    for index in range(len(sides) // 2):
        before[rank - 1 - index], after[rank - 1 - index] = sides[2 * index : 2 * index + 2]
    inputs = [call.value("self"), call.integers("pads", [*before, *after]), *fill]
    return call.add("Pad", inputs, {"mode": mode})


def _pixel_shuffle(call: Call) -> Value:
    return call.add(
        "DepthToSpace",
        [call.value("self")],
        {"blocksize": call["upscale_factor"], "mode": "CRD"},
    )


def _pixel_unshuffle(call: Call) -> Value:
    """ONNX puts a block's places before its channels, PyTorch behind them."""
    block = call["downscale_factor"]
    channels = call.shape("self")[1]
    moved = call.add("SpaceToDepth", [call.value("self")], {"blocksize": block})
    order = [place * channels + channel for channel in range(channels) for place in range(block**2)]
    batch, _, height, width = call.out
    shape = (batch, channels * block**2, height, width)
    return _pick_channels(call, moved, shape, order)


CONVERTERS: dict[Any, Converter] = {
    **dict.fromkeys(
        (
            aten.reshape.default,
            aten.view.default,
            aten._unsafe_view.default,  # noqa: SLF001 - the operator's name
            aten.flatten.using_ints,
            aten.squeeze.default,
            aten.squeeze.dim,
            aten.squeeze.dims,
            aten.unsqueeze.default,
        ),
        _reshape,
    ),
    **dict.fromkeys(
        (
            aten.alias.default,
            aten.clone.default,
            aten.contiguous.default,
            aten.detach.default,
            aten._to_copy.default,  # noqa: SLF001 - the operator's name
        ),
        _same,
    ),
    aten.permute.default: _permute,
    aten.transpose.int: _transpose,
    aten.t.default: _transpose_matrix,
    aten.cat.default: _concat,
    aten.stack.default: _stack,
    aten.slice.Tensor: _slice,
    aten.select.int: _select,
    aten.index_select.default: _index_select,
    aten.index.Tensor: _index,
    aten.channel_shuffle.default: _channel_shuffle,
    aten.native_channel_shuffle.default: _channel_shuffle,
    aten.split.Tensor: _split,
    aten.split_with_sizes.default: _split,
    aten.unbind.int: _unbind,
    aten.expand.default: _expand,
    aten.repeat.default: _repeat,
    aten.constant_pad_nd.default: _pad_constant,
    aten.reflection_pad2d.default: partial(_pad_like, "reflect"),
    aten.replication_pad2d.default: partial(_pad_like, "edge"),
    aten.pixel_shuffle.default: _pixel_shuffle,
    aten.pixel_unshuffle.default: _pixel_unshuffle,
}
"""By operator, how it is written."""
