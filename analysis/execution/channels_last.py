"""What OpenVINO's CPU plugin executes: everything with the channels of a position side by side.

Norms, factors and activations go into convolutions; a sum does where it may be written over the
other addend, that is where whoever else reads that one has done so; elementwise operations that
follow each other are one kernel. Matrices are multiplied in the other layout, channel after
channel; what follows them stays there until somebody cannot read it so.
Source: OpenVINO's description of its fusing, and the graphs that it makes of networks of every
registered block (version 2026.4): these rules give them again but for a tensor copied now and then.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from analysis.execution.chains import Chains
from analysis.execution.dataflow import NOBODY, OUTSIDE, Dataflow, is_usual
from analysis.execution.fusing import Fused, Fusing, activation_mark, filters_of, is_plain
from analysis.execution.kernels import (
    Kernel,
    convolution,
    movement,
    pooled_window,
    transposed_convolution,
)
from blocks import Op, Shape

_ACTIVATIONS = frozenset({"relu", "relu6", "sigmoid", "gelu"})
_ELEMENTWISE = frozenset({"add", "mul", "relu", "relu6", "sigmoid", "batch_norm", "gelu"})
_OPERATORS = {
    "bmm": "MatMul",
    "mm": "FullyConnected",
    "softmax": "Softmax",
    "layer_norm": "RMS",
    "mean": "Reduce",
    "avg_pool": "Pooling",
    "max_pool": "Pooling",
    "upsample_nearest": "Interpolate",
    "upsample_bilinear": "Interpolate linear",
    "cat": "Concatenation",
}
"""OpenVINO's names of operations."""
_ELTWISE = "Eltwise"
_SPLIT = "Split"
_BY_POSITION, _BY_CHANNEL = "acdb", "abcd"
"""OpenVINO's names of layouts: the channels of a position side by side, or channel after channel.
"""
_MULTIPLYING = frozenset({"bmm", "softmax"})
_FOLLOWING = _ELEMENTWISE | {"mean", "layer_norm"}
"""What works in either layout, and stays in that of the first thing that it reads."""


def channels_last_kernels(flow: Dataflow) -> tuple[Kernel, ...]:
    """Returns the kernels that OpenVINO makes of a network."""
    return _ChannelsLast(flow).run()


class _ChannelsLast:
    def __init__(self, flow: Dataflow) -> None:
        self._flow = flow
        self._fusing = Fusing(flow, _ACTIVATIONS, after_computed=True)
        self._left = self._sums()
        self._chains = Chains(flow, _ELEMENTWISE, self._fusing.absorbed, self._left)
        self._fuse_sums()
        self._kernels: list[Kernel] = []
        self._parts: set[int] = set()
        self._split_by_channel = {
            writer
            for op, writers in zip(flow.ops, flow.reads, strict=True)
            for writer, shape in zip(writers, op.ins, strict=True)
            if op.kind == "bmm" and self._is_part(writer, shape)
        }
        self._layouts = {OUTSIDE: _BY_CHANNEL}
        self._moved: set[tuple[object, ...]] = set()
        self._rules: dict[str, Callable[[int, Op], None]] = {
            "convolution": self._convolve,
            "conv_transpose": self._transposed,
            "stack": self._shuffle,
            "layer_norm": self._normalise,
            **dict.fromkeys(_ELEMENTWISE, self._compute),
            **dict.fromkeys(("avg_pool", "max_pool"), self._pool),
        }

    def run(self) -> tuple[Kernel, ...]:
        """Goes through the operations in order."""
        flow = self._flow
        for place, op in enumerate(flow.ops):
            self._layouts[place] = self._layout(place, op)
            for writer, shape in zip(flow.reads[place], op.ins, strict=True):
                self._read(place, writer, shape)
            if place not in self._fusing.absorbed:
                is_usual = self._fusing.is_usual(place)
                rule = self._rules.get(op.kind, self._other) if is_usual else self._other
                rule(place, op)
        for place in self._parts:
            # Splitting may change the layout.
            kind = f"{_SPLIT} {_BY_CHANNEL}" if place in self._split_by_channel else _SPLIT
            self._kernels.append(movement(kind, [flow.made(place)], flow.made(place)))
        for place in flow.outputs:
            self._change(place, (), flow.made(place), self._layouts[place], _BY_CHANNEL)
        return tuple(self._kernels)

    def _layout(self, place: int, op: Op) -> str:
        """Returns the layout that an operation reads and writes."""
        if op.kind in _MULTIPLYING:
            return _BY_CHANNEL
        first = self._chains.of(place)[0]
        if first != place:
            return self._layouts[first]
        if op.kind in _FOLLOWING and place not in self._fusing.absorbed and op.ins:
            return self._layout_read(self._flow.reads[place][0], op.ins[0])
        return _BY_POSITION

    def _layout_read(self, writer: int, shape: Shape) -> str:
        if self._is_part(writer, shape) and writer in self._split_by_channel:
            return _BY_CHANNEL
        return self._layouts.get(writer, _BY_POSITION)

    def _is_part(self, writer: int, shape: Shape) -> bool:
        """Tells whether somebody who reads this reads some channels only."""
        whole = shape if writer < 0 else self._flow.made(writer)
        return shape != whole and len(shape) == len(whole) and shape[1:] == whole[1:]

    def _read(self, place: int, writer: int, shape: Shape) -> None:
        """Notes that an operation reads a tensor, or channels of it, in its layout."""
        if writer == NOBODY or writer in self._chains.of(place):
            return
        is_part = self._is_part(writer, shape)
        if is_part:
            self._parts.add(writer)
        elif writer != OUTSIDE and self._flow.is_transposed(writer, shape):
            whole = self._flow.made(writer)
            self._once(("transposed", writer, shape), movement("Transpose", [whole], shape))
        before = self._layout_read(writer, shape)
        self._change(writer, (place,) if is_part else (), shape, before, self._layouts[place])

    def _change(
        self, writer: int, reader: tuple[int, ...], shape: Shape, before: str, after: str
    ) -> None:
        """Changes a tensor's layout, once for all who read the whole of it."""
        is_same = before == after or math.prod(shape) in (shape[:1] or (1,)) or shape[0] == 1
        if not is_same:
            kernel = movement(f"Reorder {before} {after}", [shape], shape)
            self._once((after, writer, *reader), kernel)

    def _once(self, key: tuple[object, ...], kernel: Kernel) -> None:
        if key not in self._moved:
            self._moved.add(key)
            self._kernels.append(kernel)

    def _sums(self) -> dict[int, tuple[Fused, int]]:
        """Returns the sums that may go into a convolution, with it and the other addend."""
        found: dict[int, tuple[Fused, int]] = {}
        for place, op in enumerate(self._flow.ops):
            writers = self._flow.reads[place]
            is_even = is_usual(op) and len({*op.ins}) == 1
            if op.kind != "add" or place in self._fusing.absorbed or not is_even:
                continue
            for writer, other in zip(writers, writers[::-1], strict=True):
                fused = self._fusing.addend(writer)
                if fused is not None and writer != other:
                    found[place] = fused, other
                    break
        return found

    def _fuse_sums(self) -> None:
        for place, (fused, other) in self._left.items():
            if self._is_done_with(other, place, fused.place):
                self._fusing.add(fused, place)
                # What would have followed the sum follows it there.
                self._fusing.absorbed.update(self._chains.of(place))

    def _is_done_with(self, other: int, place: int, conv: int) -> bool:
        """Tells whether a sum may be written over an addend: nobody else still reads it.

        Of what is computed together with it nothing may be read still.
        """
        if other < 0 or self._flow.reads[conv][0] == other:
            return False
        written = self._chains.of(other)
        if any(each in self._flow.outputs for each in written):
            return False
        readers = {reader for each in written for reader in self._flow.readers[each]}
        before = self._flow.ancestors[place]
        return all(
            reader == place or before >> reader & 1 for reader in readers.difference(written)
        )

    def _convolve(self, place: int, op: Op) -> None:
        fused = self._fusing.by_place[place]
        mark = activation_mark(fused.activation)
        if not is_plain(op):
            mark = "computed"
        self._kernels.append(
            convolution(op.ins[0], filters_of(op), op.out, mark=mark, num_terms=fused.num_terms)
        )

    def _transposed(self, _: int, op: Op) -> None:
        window = math.prod(op.weights[0][2:])
        self._kernels.append(transposed_convolution(op.ins[0], op.out, window))

    def _compute(self, place: int, op: Op) -> None:
        chain = self._chains.of(place)
        if place != chain[0]:
            return
        ins = [
            shape
            for each in chain
            for writer, shape in zip(self._flow.reads[each], self._flow.ops[each].ins, strict=True)
            if writer not in chain
        ]
        kinds = [self._flow.ops[each].kind for each in chain]
        # Of a norm a number for each channel is left.
        ins += [(op.out[0], *(1 for _ in op.out[1:]))] * kinds.count("batch_norm")
        kind = f"{_ELTWISE} gelu" if "gelu" in kinds else _ELTWISE
        self._kernels.append(movement(kind, ins, op.out))

    def _pool(self, _: int, op: Op) -> None:
        window = pooled_window(op.ins[0], op.out)
        self._kernels.append(movement(_OPERATORS[op.kind], op.ins, op.out, window=window))

    def _shuffle(self, place: int, op: Op) -> None:
        out = self._flow.made(place)
        self._kernels.append(movement(_OPERATORS["cat"], op.ins, out))
        self._kernels.append(movement("ShuffleChannels", [out], out))

    def _normalise(self, place: int, op: Op) -> None:
        """A layer norm takes the mean away, and then divides, in the layout of matrices."""
        out = op.out
        middle = (*out[:-1], 1)
        self._kernels.append(movement(_OPERATORS["mean"], [out], middle))
        self._kernels.append(movement(_ELTWISE, [out, middle], out))
        self._change(place, (place,), out, self._layouts[place], _BY_CHANNEL)
        self._layouts[place] = _BY_CHANNEL
        self._kernels.append(movement(_OPERATORS[op.kind], [out], out))

    def _other(self, _: int, op: Op) -> None:
        self._kernels.append(movement(_OPERATORS.get(op.kind, op.kind), op.ins, op.out))
