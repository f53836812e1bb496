"""What OpenVINO's CPU plugin executes: everything with the channels of a position side by side.

Norms, factors and activations go into convolutions; a sum does where it may be written over the
other addend, that is where whoever else reads that one has done so; elementwise operations that
follow each other are one kernel.
Source: OpenVINO's description of its fusing, and the graphs that it makes of networks of every
registered block (version 2026.4), which these rules give again but for a few kernels in a hundred.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from analysis.execution.dataflow import OUTSIDE, Dataflow, is_usual
from analysis.execution.fusing import Fusing, activation_mark, filters_of, is_plain
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
_INTO_LAYOUT, _OUT_OF_LAYOUT = "Reorder abcd acdb", "Reorder acdb abcd"
_SPLIT = "Split"


def channels_last_kernels(flow: Dataflow) -> tuple[Kernel, ...]:
    """Returns the kernels that OpenVINO makes of a network."""
    return _ChannelsLast(flow).run()


class _ChannelsLast:
    def __init__(self, flow: Dataflow) -> None:
        self._flow = flow
        self._fusing = Fusing(flow, _ACTIVATIONS)
        self._fuse_sums()
        self._chains = self._chain()
        self._kernels: list[Kernel] = []
        self._parts: defaultdict[int, set[str]] = defaultdict(set)
        self._rules: dict[str, Callable[[int, Op], None]] = {
            "convolution": self._convolve,
            "conv_transpose": self._transposed,
            "stack": self._shuffle,
            **dict.fromkeys(_ELEMENTWISE, self._compute),
            **dict.fromkeys(("avg_pool", "max_pool"), self._pool),
        }

    def run(self) -> tuple[Kernel, ...]:
        """Goes through the operations in order."""
        flow = self._flow
        for place, op in enumerate(flow.ops):
            for writer, shape in zip(flow.reads[place], op.ins, strict=True):
                self._read(writer, shape, op)
            if place not in self._fusing.absorbed:
                is_usual = self._fusing.is_usual(place)
                rule = self._rules.get(op.kind, self._other) if is_usual else self._other
                rule(place, op)
        for place, readers in self._parts.items():
            # Matrices are multiplied in the other layout, and splitting changes it.
            kind = f"{_SPLIT} abcd" if "bmm" in readers else _SPLIT
            self._kernels.append(movement(kind, [flow.made(place)], flow.made(place)))
        for place in flow.outputs:
            self._kernels.append(movement(_OUT_OF_LAYOUT, [flow.made(place)], flow.made(place)))
        return tuple(self._kernels)

    def _fuse_sums(self) -> None:
        ancestors = self._flow.ancestors()
        for place, op in enumerate(self._flow.ops):
            writers = self._flow.reads[place]
            is_even = is_usual(op) and len({*op.ins}) == 1
            if op.kind != "add" or place in self._fusing.absorbed or not is_even:
                continue
            for writer, other in zip(writers, writers[::-1], strict=True):
                fused = self._fusing.addend(writer)
                if fused is None or writer == other:
                    continue
                if self._is_done_with(other, place, ancestors[place], fused.place):
                    self._fusing.add(fused, place)
                break

    def _is_done_with(self, other: int, place: int, before: int, conv: int) -> bool:
        """Tells whether a sum may be written over an addend: nobody else still reads it."""
        if other < 0 or other in self._flow.outputs or self._flow.reads[conv][0] == other:
            return False
        readers = self._flow.readers[other]
        return all(reader == place or before >> reader & 1 for reader in readers)

    def _chain(self) -> dict[int, int]:
        """Returns, for each elementwise operation, the first of its chain."""
        flow = self._flow
        first: dict[int, int] = {}
        for place, op in enumerate(flow.ops):
            is_free = place not in self._fusing.absorbed and is_usual(op)
            if op.kind not in _ELEMENTWISE or not is_free:
                continue
            before = (
                first[writer]
                for writer in flow.reads[place]
                if writer in first
                and flow.only_reader(writer) is not None
                and flow.ops[writer].out == op.out
            )
            first[place] = next(before, place)
        return first

    def _read(self, writer: int, shape: Shape, reader: Op) -> None:
        if writer == OUTSIDE:
            self._kernels.append(movement(_INTO_LAYOUT, [shape], shape))
        if writer < 0:
            return
        whole = self._flow.made(writer)
        if shape != whole and len(shape) == len(whole) and shape[1:] == whole[1:]:
            self._parts[writer].add(reader.kind)

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
        if self._chains[place] != place:
            return
        chain = {each for each, first in self._chains.items() if first == place}
        ins = [
            shape
            for each in sorted(chain)
            for writer, shape in zip(self._flow.reads[each], self._flow.ops[each].ins, strict=True)
            if writer not in chain
        ]
        is_slow = any(self._flow.ops[each].kind == "gelu" for each in chain)
        self._kernels.append(movement(f"{_ELTWISE} gelu" if is_slow else _ELTWISE, ins, op.out))

    def _pool(self, _: int, op: Op) -> None:
        window = pooled_window(op.ins[0], op.out)
        self._kernels.append(movement(_OPERATORS[op.kind], op.ins, op.out, window=window))

    def _shuffle(self, place: int, op: Op) -> None:
        out = self._flow.made(place)
        self._kernels.append(movement(_OPERATORS["cat"], op.ins, out))
        self._kernels.append(movement("ShuffleChannels", [out], out))

    def _other(self, _: int, op: Op) -> None:
        self._kernels.append(movement(_OPERATORS.get(op.kind, op.kind), op.ins, op.out))
