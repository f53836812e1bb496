"""Tables of what the parts of a space's networks cost, and how rows of choices are summed up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.conventions import CONVENTIONS

Counts = NDArray[np.int64]

INVALID = -1
"""The cost of choices that do not fit together, or whose stride does not divide the image."""

NAMES = tuple(CONVENTIONS)
"""The conventions, in the order of every table's first axis."""

NONE = -(2**56)
"""A part's count where its choices do not fit together: no sum with it becomes positive."""


@dataclass(frozen=True)
class Radix:
    """Numbers the combinations of some dimensions, the last one running fastest."""

    dimensions: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of combinations."""
        return math.prod(self.sizes)

    def combinations(self) -> Iterator[tuple[int, ...]]:
        """Iterates over them, as choice indices."""
        return itertools.product(*map(range, self.sizes))

    def numbers(self, columns: NDArray[np.int32]) -> NDArray[np.int32]:
        """Returns each row's combination, from columns of choice indices (d, n)."""
        flat = np.zeros(columns.shape[1], dtype=np.int32)
        for dimension, size in zip(self.dimensions, self.sizes, strict=True):
            flat *= size
            flat += columns[dimension]
        return flat


@dataclass(frozen=True)
class PartTable:
    """One part's counts by the shared combination, by what comes in, and by its own combination.

    Attributes:
        own: The dimensions that set this part alone.
        counts: Shape (conventions, shared · states · own).
        num_states: How many different branches can come in.
        next_state: Number of the branches that go out, by the same index; None if there is
            only one whatever is chosen.
    """

    own: Radix
    counts: Counts
    num_states: int
    next_state: NDArray[np.int32] | None


@dataclass(frozen=True)
class Tables:
    """All that is needed to count any row of a space.

    Attributes:
        shared: The dimensions that set several parts.
        fixed: What depends on these alone, shape (conventions, shared).
        parts: The parts that depend on more, in order.
    """

    shared: Radix
    fixed: Counts
    parts: tuple[PartTable, ...]

    def fill(self, rows: NDArray[np.integer[Any]], names: tuple[int, ...], out: Counts) -> None:
        """Writes the counts of some rows into ``out`` (conventions, rows)."""
        columns = np.ascontiguousarray(rows.T, dtype=np.int32)
        shared = self.shared.numbers(columns)
        for target, name in zip(out, names, strict=True):
            np.take(self.fixed[name], shared, out=target, mode="clip")
        state: NDArray[np.int32] | None = None
        gathered = np.empty(len(shared), dtype=np.int64)
        for part in self.parts:
            index = shared * np.int32(part.num_states)
            if state is not None:
                index += state
            index *= np.int32(part.own.size)
            index += part.own.numbers(columns)
            for target, name in zip(out, names, strict=True):
                np.take(part.counts[name], index, out=gathered, mode="clip")
                np.add(target, gathered, out=target)
            state = None if part.next_state is None else part.next_state[index]
        out[out < 0] = INVALID
