"""What ONNX Runtime's CPU provider executes: convolutions on blocks of 16 channels.

Convolutions, and what can be computed on blocks as well, work on tensors whose channels stand in
blocks of 16, filled up with zeros; kernels of their own change the layout where one side cannot.
Source: ONNX Runtime's documentation of its layout optimisations, and the graphs that it makes of
networks of every registered block (version 1.32), which these rules give again kernel by kernel.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from analysis.execution.dataflow import Dataflow
from analysis.execution.fusing import Fused, Fusing, activation_mark, filters_of, is_plain
from analysis.execution.kernels import (
    Kernel,
    convolution,
    movement,
    padded,
    pooled_window,
    transposed_convolution,
)
from blocks import Op, Shape

_BLOCK = 16
_GRANULE = 4
"""Channels that only these divide are filled up; others stay outside of blocks."""
_ACTIVATIONS = frozenset({"relu", "relu6", "sigmoid"})
_OPERATORS = {
    "relu": "Relu",
    "relu6": "Clip",
    "sigmoid": "Sigmoid",
    "gelu": "Gelu",
    "avg_pool": "AveragePool",
    "max_pool": "MaxPool",
    "bmm": "MatMul",
    "mm": "MatMul",
    "softmax": "Softmax",
    "layer_norm": "LayerNormalization",
}
"""ONNX's names of operations."""
_LINEAR = {"upsample_nearest": "", "upsample_bilinear": " linear"}
BLOCKED = "blocked"
"""Marks code that works on blocks; what treats every number alike is the same code for both."""
_INTO_BLOCKS = "ReorderInput"
_OUT_OF_BLOCKS = "ReorderOutput"


def blocked_kernels(flow: Dataflow) -> tuple[Kernel, ...]:
    """Returns the kernels that ONNX Runtime makes of a network."""
    return _Blocked(flow).run()


def product_kind(ins: tuple[Shape, ...], out: Shape) -> str:
    """Returns how a product is called: what has one number for each channel is quick."""
    smallest = min(map(math.prod, ins), default=0)
    if len(ins) < 2 or not out or smallest == math.prod(out):  # noqa: PLR2004 - a product of two
        return "Mul"
    return "Mul by channel" if smallest == out[0] else "Mul by part"


class _Blocked:
    def __init__(self, flow: Dataflow) -> None:
        self._flow = flow
        self._fusing = Fusing(flow, _ACTIVATIONS)
        self._kernels: list[Kernel] = []
        self._places: dict[int, int] = {}
        self._are_blocked: dict[int, bool] = {}
        self._moved: set[tuple[object, ...]] = set()
        self._parts: defaultdict[int, list[Shape]] = defaultdict(list)
        self._rules: dict[str, Callable[[int, Op], None]] = {
            "convolution": self._convolve,
            "conv_transpose": self._transposed,
            "add": self._add,
            "mul": self._multiply,
            "batch_norm": self._normalise,
            **dict.fromkeys(("relu", "relu6", "sigmoid", "gelu"), self._map),
            **dict.fromkeys(("avg_pool", "max_pool"), self._pool),
            **dict.fromkeys(("upsample_nearest", "upsample_bilinear"), self._upsample),
            "mean": self._average,
            "cat": self._join,
            "stack": self._shuffle,
        }

    def run(self) -> tuple[Kernel, ...]:
        """Goes through the operations in order."""
        for place, op in enumerate(self._flow.ops):
            if place not in self._fusing.absorbed:
                is_usual = self._fusing.is_usual(place)
                rule = self._rules.get(op.kind, self._other) if is_usual else self._other
                rule(place, op)
        for place in self._flow.outputs:
            self._read(place, self._flow.made(place), "outside", blocked=False)
        for place, parts in self._parts.items():
            whole = self._flow.made(place)
            is_split = len(parts) > 1
            kind, out = ("Split", whole) if is_split else ("Slice", parts[0])
            self._kernels.append(movement(kind, [whole], out))
        return tuple(self._kernels)

    def _read(self, writer: int, shape: Shape, reader: object, *, blocked: bool) -> None:
        """Notes that somebody reads a tensor, or channels of it, in a layout."""
        if writer < 0:
            return
        whole = self._flow.made(writer)
        is_part = shape != whole
        if self._are_blocked[writer] and (is_part or not blocked):
            self._change(_OUT_OF_BLOCKS, (writer,), padded(whole), whole)
        if is_part and len(shape) == len(whole) and shape[1:] == whole[1:]:
            key = ("part", writer, shape, reader)
            if key not in self._moved:
                self._moved.add(key)
                self._parts[writer].append(shape)
        if self._flow.is_transposed(writer, shape):
            self._once(("transposed", writer, shape), movement("Transpose", [whole], shape))
        if blocked and (is_part or not self._are_blocked[writer]):
            self._change(_INTO_BLOCKS, (writer, shape, is_part and reader), shape, padded(shape))

    def _read_all(self, place: int, op: Op, *, blocked: bool) -> None:
        """Notes what an operation reads and writes in one layout."""
        for index, (writer, shape) in enumerate(zip(self._flow.reads[place], op.ins, strict=True)):
            self._read(writer, shape, (place, index), blocked=blocked)
        self._are_blocked[place] = blocked

    def _change(self, kind: str, key: tuple[object, ...], before: Shape, after: Shape) -> None:
        """Changes a tensor's layout, once for all that read it so."""
        self._once((kind, *key), movement(kind, [before], after))

    def _once(self, key: tuple[object, ...], kernel: Kernel) -> None:
        if key not in self._moved:
            self._moved.add(key)
            self._kernels.append(kernel)

    def _is_blocked(self, writer: int, shape: Shape) -> bool:
        is_whole = writer >= 0 and self._flow.made(writer) == shape
        return is_whole and self._are_blocked[writer]

    def _emit(self, place: int, op: Op, kind: str, *, blocked: bool, window: int = 1) -> None:
        """Writes down a kernel that reads and writes in one layout."""
        self._read_all(place, op, blocked=blocked)
        ins, out = op.ins, self._flow.made(place)
        if blocked:
            ins, out = tuple(map(padded, ins)), padded(out)
        self._kernels.append(movement(kind, ins, out, window=window))

    def _convolve(self, place: int, op: Op) -> None:
        if not is_plain(op):
            self._read_all(place, op, blocked=False)
            self._kernels.append(convolution(op.ins[0], filters_of(op), op.out))
            return
        fused = self._fusing.by_place[place]
        image, filters = op.ins[0], op.weights[0]
        blocked = _fits_blocks(image[0], filters)
        (writer,) = self._flow.reads[place]
        is_direct = _is_direct(image[0], filters[1])
        self._read(writer, image, (place, 0), blocked=blocked and not is_direct)
        self._emit_fused(fused, blocked=blocked)

    def _emit_fused(self, fused: Fused, *, blocked: bool) -> None:
        self._are_blocked[fused.last] = blocked
        self._places[fused.place] = len(self._kernels)
        self._kernels.append(self._fused_kernel(fused))

    def _fused_kernel(self, fused: Fused) -> Kernel:
        """Returns the kernel of a convolution, or of a norm as one, with what went into it."""
        op = self._flow.ops[fused.place]
        image, out = op.ins[0], op.out
        outs, each_reads, *window = op.weights[0] if op.kind == "convolution" else (out[0], 1, 1, 1)
        mark = ""
        if self._are_blocked[fused.last]:
            # The profiler names these after their activations, and others after themselves.
            mark = f"{BLOCKED} {activation_mark(fused.activation)}".rstrip()
            out = padded(out)
            outs = out[0]
            if not _is_direct(image[0], each_reads):
                each_reads = padded(image)[0] if each_reads == image[0] else each_reads
                image = padded(image)
        filters = (outs, each_reads, *window)
        return convolution(image, filters, out, mark=mark, num_terms=fused.num_terms)

    def _transposed(self, place: int, op: Op) -> None:
        fused = self._fusing.by_place[place]
        (writer,) = self._flow.reads[place]
        self._read(writer, op.ins[0], (place, 0), blocked=False)
        self._are_blocked[fused.last] = False
        window = op.weights[0][-1] * op.weights[0][-2]
        self._kernels.append(transposed_convolution(op.ins[0], op.out, window))

    def _add(self, place: int, op: Op) -> None:
        writers = self._flow.reads[place]
        are_whole = all(map(self._is_blocked, writers, op.ins))
        pairs = zip(writers, writers[::-1], op.ins[::-1], strict=True) if len(writers) > 1 else ()
        for writer, other, shape in pairs:
            fused = self._fusing.addend(writer)
            if fused is None or self._are_blocked[writer] != are_whole:
                continue
            if not are_whole:
                self._read(other, shape, (place, 0), blocked=False)
            self._fusing.add(fused, place)
            self._are_blocked[fused.last] = are_whole
            self._kernels[self._places[fused.place]] = self._fused_kernel(fused)
            return
        self._emit(place, op, "Add", blocked=are_whole)

    def _multiply(self, place: int, op: Op) -> None:
        are_whole = all(map(self._is_blocked, self._flow.reads[place], op.ins))
        is_even = len(op.ins) > 1 and len({*op.ins}) == 1
        self._emit(place, op, product_kind(op.ins, op.out), blocked=is_even and are_whole)

    def _normalise(self, place: int, op: Op) -> None:
        """A norm on its own becomes a depthwise convolution on blocks."""
        (writer,) = self._flow.reads[place]
        if not self._is_blocked(writer, op.ins[0]):
            self._emit(place, op, "BatchNormalization", blocked=False)
            return
        fused = Fused(place, place)
        self._fusing.extend(fused)
        self._emit_fused(fused, blocked=True)

    def _map(self, place: int, op: Op) -> None:
        (writer,) = self._flow.reads[place]
        self._emit(place, op, _OPERATORS[op.kind], blocked=self._is_blocked(writer, op.ins[0]))

    def _pool(self, place: int, op: Op) -> None:
        window = pooled_window(op.ins[0], op.out)
        blocked = op.ins[0][0] % _BLOCK == 0
        kind = _marked(_OPERATORS[op.kind], blocked=blocked)
        self._emit(place, op, kind, blocked=blocked, window=window)

    def _upsample(self, place: int, op: Op) -> None:
        (writer,) = self._flow.reads[place]
        blocked = self._is_blocked(writer, op.ins[0])
        kind = "Upsample" if blocked else "Resize"
        self._emit(place, op, kind + _LINEAR[op.kind], blocked=blocked)

    def _average(self, place: int, op: Op) -> None:
        (writer,) = self._flow.reads[place]
        is_whole = math.prod(op.out) == op.out[0]
        fits = is_whole and op.ins[0][0] % _BLOCK == 0
        blocked = fits and self._is_blocked(writer, op.ins[0])
        kind = _marked("GlobalAveragePool", blocked=blocked) if is_whole else "ReduceMean"
        self._emit(place, op, kind, blocked=blocked)

    def _join(self, place: int, op: Op) -> None:
        are_whole = all(map(self._is_blocked, self._flow.reads[place], op.ins))
        fits = all(shape[0] % _BLOCK == 0 for shape in op.ins)
        self._emit(place, op, "Concat", blocked=are_whole and fits)

    def _shuffle(self, place: int, op: Op) -> None:
        self._emit(place, op, "Concat", blocked=False)
        groups, parts, *rest = op.out
        turned = (groups, parts, rest[0] * rest[1])
        self._kernels.append(movement("Transpose", [(parts, groups, turned[2])], turned))

    def _other(self, place: int, op: Op) -> None:
        self._emit(place, op, _OPERATORS.get(op.kind, op.kind), blocked=False)


def _marked(kind: str, *, blocked: bool) -> str:
    return f"{kind} {BLOCKED}" if blocked else kind


def _is_direct(channels: int, each_reads: int) -> bool:
    """Tells whether a convolution reads so few channels that they stay outside of blocks."""
    return each_reads == channels < _BLOCK


def _fits_blocks(channels: int, filters: Shape) -> bool:
    """Tells whether a convolution is computed on blocks of channels."""
    outs, each_reads = filters[:2]
    if each_reads == channels:
        return _is_direct(channels, each_reads) or channels % _GRANULE == 0
    if outs % _GRANULE:
        return False
    groups = channels // each_reads
    is_depthwise = each_reads == 1 and outs == groups
    return is_depthwise or (each_reads % _BLOCK == 0 and (outs // groups) % _BLOCK == 0)
