"""Costs of millions of networks of one space, from tables of the costs of their parts.

A network's cost is the sum of its parts' (stem, stages, aggregator, head), and a part's cost
depends on few of a space's dimensions: on those that set it, and on the branches that come in. So
each part's cost is counted once for every combination of these, by the same closed form that
serves a single network; a row of choice indices is then a few look-ups and additions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.cost import measure_cost
from analysis.part_counting import TableBuilder
from analysis.part_tables import INVALID, NAMES, Counts, Tables
from blocks import BranchworkError, ImageSize
from networks import SpecSpace, spec_to_dict

DEFAULT_SIZE = ImageSize(256, 192)
_CHUNK = 1 << 16
_MAX_ENTRIES = 200_000
_NUM_CHECKED = 12
_KEPT_TABLES = 8


def cost_many(
    space: SpecSpace,
    choices: NDArray[np.integer[Any]],
    *,
    size: ImageSize = DEFAULT_SIZE,
    names: Sequence[str] = NAMES,
) -> dict[str, Counts]:
    """Counts the networks that rows of choice indices pick.

    Equal, to the last unit, to ``measure_cost(space.spec(row), size)`` row by row.

    Args:
        space: The space.
        choices: One row a network, one column a dimension of the space.
        size: The image's size.
        names: The conventions wanted, keys of ``CONVENTIONS``.

    Returns:
        An array for each convention; ``INVALID`` where ``space.spec`` would raise or the network
        does not suit the image.

    Shape:
        (n, d) to (n,) for each convention.
    """
    columns = tuple(NAMES.index(name) for name in names)
    rows = np.asarray(choices)
    assert rows.ndim == 2, "choices have one row a network and one column a dimension"  # noqa: PLR2004
    assert rows.shape[1] == len(space.dimensions), "choices have one column a dimension"
    out = np.empty((len(columns), len(rows)), dtype=np.int64)
    tables = _tables(space, size)
    if tables is None:
        for row, counts in zip(rows.tolist(), out.T, strict=True):
            every = _one_by_one(space, row, size)
            counts[:] = [every[column] for column in columns]
        return dict(zip(names, out, strict=True))
    starts = range(0, len(rows), _CHUNK)
    with ThreadPoolExecutor(_num_cores()) as pool:
        for _ in pool.map(
            lambda start: tables.fill(
                rows[start : start + _CHUNK], columns, out[:, start : start + _CHUNK]
            ),
            starts,
        ):
            pass
    return dict(zip(names, out, strict=True))


def sample_choices(space: SpecSpace, count: int, seed: int) -> NDArray[np.int32]:
    """Draws rows of choice indices, every choice of a dimension equally likely.

    Shape:
        (count, d).
    """
    generator = np.random.default_rng(seed)
    columns = [
        generator.integers(len(dimension.choices), size=count, dtype=np.int32)
        for dimension in space.dimensions
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((count, 0), dtype=np.int32)


def every_choice(space: SpecSpace) -> NDArray[np.int32]:
    """Returns all rows of choice indices of a space, in the order of ``space.rows()``.

    Shape:
        (space.size, d).
    """
    return row_choices(space, np.arange(space.size))


def row_choices(space: SpecSpace, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
    """Returns some of a space's rows of choice indices.

    Args:
        space: The space.
        numbers: Their places in ``space.rows()``.

    Shape:
        (n,) to (n, d).
    """
    radices = [len(dimension.choices) for dimension in space.dimensions]
    rows = np.empty((len(numbers), len(radices)), dtype=np.int32)
    if radices:
        for column, indices in enumerate(np.unravel_index(numbers, radices)):
            rows[:, column] = indices
    return rows


@dataclass(frozen=True)
class _Request:
    """A space and an image size; spaces are equal if their data are.

    Attributes:
        text: The space's data.
        size: The image's size.
        space: The space.
    """

    text: str
    size: ImageSize
    space: SpecSpace = field(compare=False)


def _tables(space: SpecSpace, size: ImageSize) -> Tables | None:
    """Returns a space's tables, None where they would be larger than is worth their making."""
    free = {dimension.address: dimension.choices for dimension in space.dimensions}
    text = json.dumps([spec_to_dict(space.base), free])
    return _built(_Request(text, size, space))


@lru_cache(maxsize=_KEPT_TABLES)
def _built(request: _Request) -> Tables | None:
    builder = TableBuilder(request.space, request.size)
    if builder.num_entries > _MAX_ENTRIES:
        return None
    tables = builder.build()
    _check(tables, request)
    return tables


def _check(tables: Tables, request: _Request) -> None:
    """Compares some networks with their own closed form: tables must never be wrong."""
    rows = sample_choices(request.space, _NUM_CHECKED, 0)
    found = np.empty((len(NAMES), len(rows)), dtype=np.int64)
    tables.fill(rows, tuple(range(len(NAMES))), found)
    for row, counts in zip(rows, found.T, strict=True):
        expected = _one_by_one(request.space, row.tolist(), request.size)
        assert counts.tolist() == expected, f"tables give {counts} for {row}, not {expected}"


def _one_by_one(space: SpecSpace, row: Sequence[int], size: ImageSize) -> list[int]:
    """Counts one network by its own closed form."""
    try:
        return list(measure_cost(space.spec(row), size).conventions.values())
    except BranchworkError:
        return [INVALID] * len(NAMES)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
