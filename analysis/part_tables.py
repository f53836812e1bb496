"""Tables of what the parts of a space's networks cost, and how rows of choices are summed up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.conventions import CONVENTIONS
from analysis.cost import DROPS_UNREAD

Counts = NDArray[np.int64]

INVALID = -1
"""The cost of choices that do not fit together, or whose stride does not divide the image."""

NAMES = tuple(CONVENTIONS)
"""The conventions, in the order of every table's first axis."""

_DROPS_PLACE = NAMES.index(DROPS_UNREAD)

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
class ReadTable:
    """What nobody reads of one part, by the branches that are read of those that it puts out.

    Sets of branches are numbered for each part; 0 stands for all of them.

    Attributes:
        unseen: What ``DROPS_UNREAD`` does not see, by the number of the set, then by the index of
            the part's counts.
        reads: Number of the set that the part reads of what the part before it puts out, by the
            same index.
    """

    unseen: Counts
    reads: NDArray[np.int32]


@dataclass(frozen=True)
class Tables:
    """All that is needed to count any row of a space.

    Attributes:
        shared: The dimensions that set several parts.
        fixed: What depends on these alone, shape (conventions, shared).
        parts: The parts that depend on more, in order; all of them if there are ``reading``.
        reading: For each part what is read of it, None if that is everything in all networks.
    """

    shared: Radix
    fixed: Counts
    parts: tuple[PartTable, ...]
    reading: tuple[ReadTable, ...] | None

    def fill(self, rows: NDArray[np.integer[Any]], names: tuple[int, ...], out: Counts) -> None:
        """Writes the counts of some rows into ``out`` (conventions, rows)."""
        columns = np.ascontiguousarray(rows.T, dtype=np.int32)
        shared = self.shared.numbers(columns)
        for target, name in zip(out, names, strict=True):
            np.take(self.fixed[name], shared, out=target, mode="clip")
        drops = names.index(_DROPS_PLACE) if _DROPS_PLACE in names and self.reading else None
        indices: list[NDArray[np.int32]] = []
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
            if drops is not None:
                indices.append(index)
        if drops is not None:
            self._leave_out_unread(indices, out[drops])
        out[out < 0] = INVALID

    def _leave_out_unread(self, indices: Sequence[NDArray[np.int32]], out: Counts) -> None:
        """Takes off what nobody reads, from the last part to the first."""
        assert self.reading is not None
        read = np.zeros(out.shape, dtype=np.int32)
        for part, reading, index in zip(
            reversed(self.parts), reversed(self.reading), reversed(indices), strict=True
        ):
            place = read * np.int32(part.counts.shape[1])
            place += index
            np.subtract(out, reading.unseen[place], out=out)
            read = reading.reads[place]
