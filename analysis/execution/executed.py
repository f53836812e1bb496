"""What a runtime's profiler says that it executed, as kernels."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.calibration_profiles import KEYS
from analysis.execution.blocked import product_kind
from analysis.execution.kernels import (
    Kernel,
    convolution,
    movement,
    pooled_window,
    transposed_convolution,
)
from blocks import Shape

CONVOLUTION, TRANSPOSED = "convolution", "transposed"
"""Operators that have filters."""
_POOLS = frozenset({"AveragePool", "MaxPool", "Pooling", "avg_pool", "max_pool"})
_RESIZES = frozenset({"Resize", "Upsample", "Interpolate"})


@dataclass(frozen=True, kw_only=True)
class Executed:
    """Something that a runtime executed.

    Attributes:
        name: What the runtime calls it: after a node's address, if anything.
        operator: What it does: ``CONVOLUTION``, ``TRANSPOSED``, or the runtime's own name.
        mark: What tells its code from others' of that operator.
        ins: The tensors that it reads, without the batch; what is added to its result last.
        filters: A convolution's weights, or nothing.
        out: The tensor that it writes, without the batch.
        time_ms: How long it took.
    """

    name: str
    operator: str
    mark: str
    ins: tuple[Shape, ...]
    filters: Shape
    out: Shape
    time_ms: float

    def kernel(self, linear: Collection[str]) -> Kernel:
        """Returns what was executed, in the words that everything is predicted in.

        Args:
            linear: The addresses of modules that upsample linearly.
        """
        if self.operator == CONVOLUTION:
            return convolution(
                self.ins[0], self.filters, self.out, mark=self.mark, num_terms=len(self.ins)
            )
        if self.operator == TRANSPOSED:
            window = self.filters[-1] * self.filters[-2]
            return transposed_convolution(self.ins[0], self.out, window, mark=self.mark)
        kind = self.operator
        if kind == "Mul":
            kind = product_kind(self.ins, self.out)
        if kind in _RESIZES and self._address in linear:
            kind += " linear"
        window = pooled_window(self.ins[0], self.out) if kind in _POOLS else 1
        return movement(f"{kind} {self.mark}".rstrip(), self.ins, self.out, window=window)

    @property
    def _address(self) -> str:
        return self.name.removeprefix("/").rpartition("/")[0]

    @property
    def data(self) -> list[Any]:
        """It as plain data."""
        return [
            *(self.name, self.operator, self.mark),
            *(list(map(list, self.ins)), list(self.filters), list(self.out), self.time_ms),
        ]


def executed_from_row(row: Mapping[str, Any]) -> Executed:
    """Returns what a profile's reader (``analysis.calibration_profiles``) wrote down."""
    return executed_from_data([row[key] for key in KEYS])


def executed_from_data(data: list[Any]) -> Executed:
    """Reads what ``Executed.data`` wrote.

    Raises:
        TypeError: If something is not what it should be.
        ValueError: If something is missing, or a time or a side cannot be.
    """
    name, operator, mark, ins, filters, out, time_ms = data
    if not (math.isfinite(time_ms) and time_ms >= 0):
        message = "a time that is not 0 or more"
        raise ValueError(message)
    if any(side < 1 for shape in (*ins, filters, out) for side in shape):
        message = "a side below 1"
        raise ValueError(message)
    return Executed(
        name=str(name),
        operator=str(operator),
        mark=str(mark),
        ins=tuple(tuple(map(int, shape)) for shape in ins),
        filters=tuple(map(int, filters)),
        out=tuple(map(int, out)),
        time_ms=float(time_ms),
    )
