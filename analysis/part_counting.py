"""Counts every part of a space's networks once for every combination that reaches it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from analysis.part_reading import Placed, read_tables
from analysis.part_tables import NAMES, NONE, PartTable, Radix, Tables
from analysis.tally import count_layer
from blocks import (
    IMAGE,
    SLOTS,
    Composite,
    ImageSize,
    Ins,
    LayerSpec,
    Slot,
    SpecError,
    layer_from_dict,
)
from networks import SpecSpace, apply_choices, spec_to_dict, stage_from_dict
from networks.fusions import NoFusion

_KEPT_LAYERS = 200_000

# A stage that a network with fewer branches does not have changes nothing and costs nothing.
_ABSENT = NoFusion()


class TableBuilder:
    """Counts every part for every combination that reaches it.

    Args:
        space: The space.
        size: The image's size.

    Attributes:
        num_entries: Entries of the tables, all parts together.
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

    def build(self) -> Tables:
        """Walks through the parts, from the branches that can come in to those that go out."""
        fixed = np.zeros((len(NAMES), self._shared.size), dtype=np.int64)
        parts, placed = [], []
        comings: list[list[Ins]] = [[IMAGE] for _ in range(self._shared.size)]
        for name in self._names:
            part, comings, layers = self._part(name, comings)
            parts.append(part)
            placed.append(layers)
        reading = read_tables(parts, placed, self._size)
        if reading is not None:
            return Tables(self._shared, fixed, tuple(parts), reading)
        varying = []
        for part in parts:
            if part.num_states * part.own.size == 1 and part.next_state is None:
                fixed += part.counts
            else:
                varying.append(part)
        return Tables(self._shared, fixed, tuple(varying), None)

    def _part(
        self, name: str, comings: list[list[Ins]]
    ) -> tuple[PartTable, list[list[Ins]], list[Placed | None]]:
        """Counts one part.

        Args:
            name: The part.
            comings: The branches that can come in, by shared combination.

        Returns:
            Its table, the branches that can go out, and its layers by the table's index.
        """
        own = self._own[name]
        num_states = max(map(len, comings))
        counts = np.full((len(NAMES), len(comings), num_states, own.size), NONE, dtype=np.int64)
        following = np.zeros(counts.shape[1:], dtype=np.int32)
        goings: list[dict[Ins, int]] = [{} for _ in comings]
        placed: list[Placed | None] = [None] * following.size
        for s, shared in enumerate(self._shared.combinations()):
            for o, chosen in enumerate(own.combinations()):
                layer = self._layer(name, self._picked(shared, own, chosen))
                for state, ins in enumerate(comings[s] if layer else ()):
                    assert layer is not None
                    counted = _counted(layer, ins, self._size)
                    if counted is None:
                        # Nothing of what follows is asked for: the sum is below 0 already.
                        continue
                    counts[:, s, state, o] = counted.counts
                    placed[(s * num_states + state) * own.size + o] = layer, ins
                    going = goings[s]
                    following[s, state, o] = going.setdefault(counted.outs, len(going))
        table = PartTable(
            own=own,
            counts=counts.reshape(len(NAMES), -1),
            num_states=num_states,
            next_state=following.reshape(-1) if max(map(len, goings)) > 1 else None,
        )
        return table, [list(going) or [IMAGE] for going in goings], placed

    def _radix(self, dimensions: Iterable[int]) -> Radix:
        kept = tuple(dimensions)
        sizes = tuple(len(self._space.dimensions[i].choices) for i in kept)
        return Radix(kept, sizes)

    def _picked(
        self, shared: tuple[int, ...], own: Radix, chosen: tuple[int, ...]
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
    """What a layer costs, by convention, and the branches that it puts out."""

    counts: tuple[int, ...]
    outs: Ins


@lru_cache(maxsize=_KEPT_LAYERS)
def _counted(layer: LayerSpec, ins: Ins, size: ImageSize) -> _Counted | None:
    """Counts a layer in every convention, None if it cannot work on these branches."""
    outs = layer.out_shapes(ins)
    if any(size.height % shape.stride or size.width % shape.stride for shape in outs):
        return None
    if not isinstance(layer, Composite):
        if layer.problems(ins):
            return None
        return _Counted(count_layer(layer, ins, size), outs)
    totals = [0] * len(NAMES)
    for _, child in layer.children():
        counted = _counted(child, ins, size)
        if counted is None:
            return None
        totals = [total + count for total, count in zip(totals, counted.counts, strict=True)]
        ins = counted.outs
    return _Counted(tuple(totals), outs)
