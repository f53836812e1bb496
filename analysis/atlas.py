"""The atlas of a space: what all its networks cost, as a Parquet file, and its cost front."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis.conventions import CONVENTIONS
from analysis.many import cost_many, row_choices, sample_choices
from analysis.part_tables import INVALID
from blocks import ImageSize
from networks import SpecSpace

_BATCH = 1 << 20
FRONT_COSTS = ("params", "macs")
"""The two costs between which the front lies: most params for the fewest MACs."""


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """What an atlas holds.

    Attributes:
        path: The Parquet file.
        num_rows: Networks costed.
        is_whole: Whether these are all of the space, once each; otherwise they were drawn.
        num_invalid: Rows whose choices do not fit together or do not suit the image.
        num_over: Valid networks over a limit.
        ranges: Smallest, median and largest count of the valid networks, by convention; the
            median is that of the first million.
        front: Choice indices of the networks on the cost front, cheapest first, within limits.
        front_costs: Their costs, by convention, in the same order.
    """

    path: Path
    num_rows: int
    is_whole: bool
    num_invalid: int
    num_over: int
    ranges: dict[str, tuple[int, int, int]]
    front: NDArray[np.int32]
    front_costs: dict[str, NDArray[np.int64]]


def write_atlas(  # noqa: PLR0913 - an atlas is defined by all of these
    space: SpecSpace,
    size: ImageSize,
    path: Path,
    *,
    num_samples: int | None,
    seed: int,
    limits: Mapping[str, float],
    on_rows: Callable[[int], None] = lambda _: None,
) -> Atlas:
    """Costs a space and writes a row for each network.

    Columns are the free addresses (the choice as JSON text, stored once), every convention as a
    whole number for one image, and ``fits``: whether the row is a network within the limits.

    The cost front: no other network within the limits has at least as many learnable values for at
    most as many multiply-accumulates. MACs buy speed and params buy capacity, so these are the
    networks that waste neither; it says nothing of accuracy.

    Args:
        space: The space.
        size: The image's size.
        path: The file; an existing one is replaced when the new one is whole.
        num_samples: How many networks to draw; None costs each network of the space once.
        seed: Seed of the draw.
        limits: The largest value of some conventions.
        on_rows: Is told how many rows are done.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    survey = _Survey(limits)
    labels = [pa.array(dimension.labels) for dimension in space.dimensions]
    try:
        with pq.ParquetWriter(temporary, _schema(space)) as writer:
            done = 0
            for rows in _batches(space, num_samples, seed):
                counts = cost_many(space, rows, size=size)
                fits = survey.add(rows, counts)
                columns = [
                    pa.DictionaryArray.from_arrays(pa.array(column), words)
                    for column, words in zip(rows.T.astype(np.int32), labels, strict=True)
                ]
                columns += [
                    pa.array(counts[name], mask=counts[name] == INVALID) for name in CONVENTIONS
                ]
                table = pa.table([*columns, pa.array(fits)], schema=_schema(space))
                writer.write_table(table)
                done += len(rows)
                on_rows(done)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return survey.atlas(path, is_whole=num_samples is None)


def _batches(space: SpecSpace, num_samples: int | None, seed: int) -> Iterator[NDArray[np.int32]]:
    total = space.size if num_samples is None else num_samples
    for number, start in enumerate(range(0, total, _BATCH)):
        stop = min(start + _BATCH, total)
        if num_samples is None:
            yield row_choices(space, np.arange(start, stop))
        else:
            yield sample_choices(space, stop - start, seed=seed + number)


def _schema(space: SpecSpace) -> pa.Schema:
    fields = [
        pa.field(dimension.address, pa.dictionary(pa.int32(), pa.string()))
        for dimension in space.dimensions
    ]
    fields += [pa.field(name, pa.int64()) for name in CONVENTIONS]
    return pa.schema([*fields, pa.field("fits", pa.bool_())])


class _Survey:
    """Gathers what is said of all rows while they pass."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits = limits
        self._num_rows = 0
        self._num_invalid = 0
        self._num_over = 0
        self._low: dict[str, int] = {}
        self._high: dict[str, int] = {}
        self._median: dict[str, int] = {}
        self._front: NDArray[np.int32] | None = None
        self._front_costs: dict[str, NDArray[np.int64]] = {}

    def add(
        self, rows: NDArray[np.int32], counts: Mapping[str, NDArray[np.int64]]
    ) -> NDArray[np.bool_]:
        """Takes in some rows; returns which of them are networks within the limits."""
        valid = counts["macs"] != INVALID
        fits: NDArray[np.bool_] = valid.copy()
        for name, largest in self._limits.items():
            fits &= counts[name] <= largest
        self._num_rows += len(rows)
        self._num_invalid += int((~valid).sum())
        self._num_over += int((valid & ~fits).sum())
        for name, values in counts.items():
            kept = values[valid]
            if kept.size:
                self._low[name] = min(int(kept.min()), self._low.get(name, int(kept.min())))
                self._high[name] = max(int(kept.max()), self._high.get(name, 0))
                self._median.setdefault(name, int(np.median(kept)))
        self._merge(rows[fits], {name: values[fits] for name, values in counts.items()})
        return fits

    def _merge(self, rows: NDArray[np.int32], counts: dict[str, NDArray[np.int64]]) -> None:
        if self._front is not None:
            rows = np.concatenate([self._front, rows])
            counts = {n: np.concatenate([self._front_costs[n], v]) for n, v in counts.items()}
        capacity, cost = (counts[name] for name in FRONT_COSTS)
        kept = front_of(capacity, cost)
        self._front = rows[kept]
        self._front_costs = {name: values[kept] for name, values in counts.items()}

    def atlas(self, path: Path, *, is_whole: bool) -> Atlas:
        assert self._front is not None
        return Atlas(
            path=path,
            num_rows=self._num_rows,
            is_whole=is_whole,
            num_invalid=self._num_invalid,
            num_over=self._num_over,
            ranges={
                name: (self._low[name], self._median[name], self._high[name]) for name in self._low
            },
            front=self._front,
            front_costs=self._front_costs,
        )


def front_of(more: NDArray[Any], less: NDArray[Any]) -> NDArray[np.intp]:
    """Returns the rows that no other beats with more of one and less of the other.

    Of equal rows the first stays.

    Args:
        more: What is better when larger.
        less: What is better when smaller.

    Returns:
        Row numbers, by rising ``less``.

    Shape:
        Twice (n,) to (k,).
    """
    order = np.lexsort((-more, less))
    if not len(order):
        return order
    best = np.maximum.accumulate(more[order])
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = more[order][1:] > best[:-1]
    kept: NDArray[np.intp] = order[is_first]
    return kept
