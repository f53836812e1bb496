"""Costs of millions of networks of one space, from tables of the costs of their parts.

A network's cost is the sum of its parts' (stem, stages, aggregator, head), and a part's cost
depends on few of a space's dimensions: on those that set it, and on the branches that come in. So
each part's cost is counted once for every combination of these, by the same closed form that
serves a single network; a row of choice indices is then a few look-ups and additions.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from analysis.conventions import CONVENTIONS
from analysis.cost import measure_cost
from blocks import (
    IMAGE,
    SLOTS,
    BranchworkError,
    Composite,
    ImageSize,
    Ins,
    LayerSpec,
    Shape,
    Slot,
    SpecError,
    Tape,
    layer_from_dict,
)
from networks import SpecSpace, apply_choices, spec_to_dict, stage_from_dict

Counts = NDArray[np.int64]

INVALID = -1
"""The cost of choices that do not fit together, or whose stride does not divide the image."""

DEFAULT_SIZE = ImageSize(256, 192)
_NAMES = tuple(CONVENTIONS)
# So far below 0 that no sum with it becomes positive.
_NONE = -(2**56)
_CHUNK = 1 << 16
_MAX_ENTRIES = 200_000
_NUM_CHECKED = 12
_KEPT_TABLES = 8
_KEPT_LAYERS = 200_000


def cost_many(
    space: SpecSpace,
    choices: NDArray[np.integer[Any]],
    *,
    size: ImageSize = DEFAULT_SIZE,
    names: Sequence[str] = _NAMES,
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
    columns = tuple(_NAMES.index(name) for name in names)
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
class _Radix:
    """Numbers the combinations of some dimensions, the last one running fastest."""

    dimensions: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.sizes)

    def combinations(self) -> Iterator[tuple[int, ...]]:
        return itertools.product(*map(range, self.sizes))

    def numbers(self, columns: NDArray[np.int32]) -> NDArray[np.int32]:
        """Returns each row's combination, from columns of choice indices (d, n)."""
        flat = np.zeros(columns.shape[1], dtype=np.int32)
        for dimension, size in zip(self.dimensions, self.sizes, strict=True):
            flat *= size
            flat += columns[dimension]
        return flat


@dataclass(frozen=True)
class _PartTable:
    """One part's counts by the shared combination, by what comes in, and by its own combination.

    Attributes:
        own: The dimensions that set this part alone.
        counts: Shape (conventions, shared · states · own).
        num_states: How many different branches can come in.
        next_state: Number of the branches that go out, by the same index; None if there is
            only one whatever is chosen.
    """

    own: _Radix
    counts: Counts
    num_states: int
    next_state: NDArray[np.int32] | None


@dataclass(frozen=True)
class _Tables:
    shared: _Radix
    fixed: Counts
    parts: tuple[_PartTable, ...]

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


def _tables(space: SpecSpace, size: ImageSize) -> _Tables | None:
    """Returns a space's tables, None where they would be larger than is worth their making."""
    free = {dimension.address: dimension.choices for dimension in space.dimensions}
    text = json.dumps([spec_to_dict(space.base), free])
    return _built(_Request(text, size, space))


@lru_cache(maxsize=_KEPT_TABLES)
def _built(request: _Request) -> _Tables | None:
    builder = _Builder(request.space, request.size)
    if builder.num_entries > _MAX_ENTRIES:
        return None
    tables = builder.build()
    builder.check(tables)
    return tables


class _Builder:
    """Counts every part for every combination that reaches it.

    Args:
        space: The space.
        size: The image's size.
    """

    def __init__(self, space: SpecSpace, size: ImageSize) -> None:
        self._space = space
        self._size = size
        self._base = spec_to_dict(space.base)
        self._addresses = [dimension.address for dimension in space.dimensions]
        self._names = ("stem", *self._stage_names(), "aggregator", "head")
        touched = [self._touched(address) for address in self._addresses]
        self._shared = self._radix(i for i, parts in enumerate(touched) if len(parts) > 1)
        self._own = {
            name: self._radix(i for i, parts in enumerate(touched) if parts == {name})
            for name in self._names
        }
        self.num_entries = self._shared.size * sum(radix.size for radix in self._own.values())

    def build(self) -> _Tables:
        """Walks through the parts, from the branches that can come in to those that go out."""
        fixed = np.zeros((len(_NAMES), self._shared.size), dtype=np.int64)
        parts = []
        comings: list[list[Ins]] = [[IMAGE] for _ in range(self._shared.size)]
        for name in self._names:
            part, comings = self._part(name, comings)
            if part.num_states * part.own.size == 1 and part.next_state is None:
                fixed += part.counts
            else:
                parts.append(part)
        return _Tables(self._shared, fixed, tuple(parts))

    def _part(self, name: str, comings: list[list[Ins]]) -> tuple[_PartTable, list[list[Ins]]]:
        """Counts one part; ``comings`` are the branches that can come in, by shared combination."""
        own = self._own[name]
        num_states = max(map(len, comings))
        counts = np.full((len(_NAMES), len(comings), num_states, own.size), _NONE, dtype=np.int64)
        following = np.zeros(counts.shape[1:], dtype=np.int32)
        goings: list[dict[Ins, int]] = [{} for _ in comings]
        for s, shared in enumerate(self._shared.combinations()):
            for o, chosen in enumerate(own.combinations()):
                layer = self._layer(name, self._picked(shared, own, chosen))
                for state, ins in enumerate(comings[s]):
                    counted = None if layer is None else _counted(layer, ins, self._size)
                    if counted is None:
                        # Nothing of what follows is asked for: the sum is below 0 already.
                        continue
                    counts[:, s, state, o] = counted.counts
                    going = goings[s]
                    following[s, state, o] = going.setdefault(counted.outs, len(going))
        table = _PartTable(
            own=own,
            counts=counts.reshape(len(_NAMES), -1),
            num_states=num_states,
            next_state=following.reshape(-1) if max(map(len, goings)) > 1 else None,
        )
        return table, [list(going) or [IMAGE] for going in goings]

    def check(self, tables: _Tables) -> None:
        """Compares some networks with their own closed form: tables must never be wrong."""
        rows = sample_choices(self._space, _NUM_CHECKED, 0)
        found = np.empty((len(_NAMES), len(rows)), dtype=np.int64)
        tables.fill(rows, tuple(range(len(_NAMES))), found)
        for row, counts in zip(rows, found.T, strict=True):
            expected = _one_by_one(self._space, row.tolist(), self._size)
            assert counts.tolist() == expected, f"tables give {counts} for {row}, not {expected}"

    def _radix(self, dimensions: Iterable[int]) -> _Radix:
        kept = tuple(dimensions)
        sizes = tuple(len(self._space.dimensions[i].choices) for i in kept)
        return _Radix(kept, sizes)

    def _picked(
        self, shared: tuple[int, ...], own: _Radix, chosen: tuple[int, ...]
    ) -> dict[str, Any]:
        pairs = (*zip(self._shared.dimensions, shared, strict=True),)
        pairs += (*zip(own.dimensions, chosen, strict=True),)
        return {
            self._addresses[dimension]: self._space.dimensions[dimension].choices[index]
            for dimension, index in pairs
        }

    def _layer(self, name: str, picked: Mapping[str, Any]) -> LayerSpec | None:
        """Returns a part's layer, None if the choices do not make one."""
        try:
            data = apply_choices(self._base, picked)
            if not name.startswith("stages."):
                return layer_from_dict(SLOTS[Slot(name)], data[name], name)
            index = int(name.partition(".")[2])
            if index >= len(data["stages"]):
                return _ABSENT
            return stage_from_dict(data["stages"][index], name)
        except SpecError:
            return None

    def _stage_names(self) -> tuple[str, ...]:
        """The stages of the network with the most of them."""
        numbers = [len(self._base["stages"])]
        for dimension in self._space.dimensions:
            if dimension.address == "branches":
                for choice in dimension.choices:
                    data = apply_choices(self._base, {"branches": choice})
                    numbers.append(len(data["stages"]))
        return tuple(f"stages.{index}" for index in range(max(numbers)))

    def _touched(self, address: str) -> set[str]:
        """Returns the parts whose own data an address can change, rather one too many."""
        stages = set(self._stage_names())
        head, _, rest = address.partition(".")
        if head != "stages":
            return {head} if head in self._names else stages
        part = f"stages.{rest.partition('.')[0]}"
        last = len(self._base["stages"]) - 1
        touched = {part}
        if "branches" in self._addresses and part == f"stages.{last}":
            # Stages that are added copy the last one.
            touched |= {name for name in stages if int(name.partition(".")[2]) > last}
            if self._puts_out_less:
                # One that becomes the last takes over which branches it puts out.
                touched |= stages
        return touched

    @property
    def _puts_out_less(self) -> bool:
        """Whether some fusion, here or among the choices, does not put out every branch."""
        choices = [dimension.choices for dimension in self._space.dimensions]
        return "finest" in json.dumps([self._base, choices])


@dataclass(frozen=True)
class _Counted:
    counts: tuple[int, ...]
    outs: Ins


@dataclass(frozen=True, kw_only=True)
class _Absent(LayerSpec):
    """A stage that a network with fewer branches does not have."""

    def out_shapes(self, ins: Ins) -> Ins:
        return ins

    def build(self, ins: Ins) -> nn.Module:
        del ins
        return nn.Identity()

    def trace(self, tape: Tape, ins: Ins, xs: Sequence[Shape]) -> tuple[Shape, ...]:
        del tape, ins
        return tuple(xs)


_ABSENT = _Absent()


@lru_cache(maxsize=_KEPT_LAYERS)
def _counted(layer: LayerSpec, ins: Ins, size: ImageSize) -> _Counted | None:
    """Counts a layer in every convention, None if it cannot work on these branches."""
    outs = layer.out_shapes(ins)
    if any(size.height % shape.stride or size.width % shape.stride for shape in outs):
        return None
    if not isinstance(layer, Composite):
        if layer.problems(ins):
            return None
        ops = layer.ops(ins, size)
        return _Counted(tuple(count(ops) for count in CONVENTIONS.values()), outs)
    totals = [0] * len(_NAMES)
    for _, child in layer.children():
        counted = _counted(child, ins, size)
        if counted is None:
            return None
        totals = [total + count for total, count in zip(totals, counted.counts, strict=True)]
        ins = counted.outs
    return _Counted(tuple(totals), outs)


def _one_by_one(space: SpecSpace, row: Sequence[int], size: ImageSize) -> list[int]:
    """Counts one network by its own closed form."""
    try:
        return list(measure_cost(space.spec(row), size).conventions.values())
    except BranchworkError:
        return [INVALID] * len(_NAMES)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
