"""One network with every cost in its place: what reports of a profile are made of."""

from __future__ import annotations

import string
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from analysis.any_module import ModuleProfile
from analysis.conventions import CONVENTIONS
from analysis.cost import (
    By,
    Cost,
    Part,
    measure_cost,
    network_shares,
    part_name,
)
from analysis.memory import Memory
from analysis.unread import unread_operations
from blocks import ImageSize, Problem
from networks import NetworkSpec, spec_id

_LONGEST_LABEL = 28

K = TypeVar("K", bound=Hashable)

Counts = Mapping[str, int]
"""Whole numbers by convention."""


@dataclass(frozen=True, kw_only=True)
class PlacedCost:
    """The smallest part that costs are told of: what one layer does on one branch.

    Attributes:
        stage: Its stage, stem, aggregator or head; "" in a module that has none of ours.
        slot: Its slot, "" as above.
        layer: The address of the layer.
        branch: The branch, None where the layer works on no single one.
        counts: Every convention's whole number.
    """

    stage: str
    slot: str
    layer: str
    branch: int | None
    counts: Counts


@dataclass(frozen=True, kw_only=True)
class NetworkProfile:
    """What one network costs on one image, place by place.

    Attributes:
        name: What the user calls it.
        cost: Its cost.
        places: Its smallest parts, which add up to its cost, in order of appearance.
        spec: The network; None for a module that is none of ours.
        task: The task that set its outputs, None as above.
        uncounted: Operations that could not be counted, with their calls.
        problem: What broke a recording off, None if nothing did.
        notes: What a reader of the numbers has to know besides, a line each.
        memory: Its peak activation memory, None where nobody asked.
        label: What columns call it, its marked name by default.
    """

    name: str
    cost: Cost
    places: tuple[PlacedCost, ...]
    spec: NetworkSpec | None = None
    task: str | None = None
    uncounted: Mapping[str, int] = field(default_factory=dict)
    problem: Problem | None = None
    notes: tuple[str, ...] = ()
    memory: Memory | None = None
    label: str = ""

    def __post_init__(self) -> None:
        """Sets the label."""
        object.__setattr__(self, "label", self.label or self.marked_name)

    @property
    def is_partial(self) -> bool:
        """Whether something is missing from the numbers."""
        return bool(self.uncounted or self.problem)

    @property
    def stopped_by(self) -> str:
        """What broke a recording off, "" if nothing did."""
        return "" if self.problem is None else str(self.problem)

    @property
    def counts(self) -> dict[str, int | None]:
        """Every convention's number, None where the convention says nothing of such a network."""
        return all_conventions(self.cost.conventions)

    @property
    def marked_name(self) -> str:
        """Its name, marked if something is missing from its numbers."""
        return f"{self.name} (partial)" if self.is_partial else self.name

    @cached_property
    def spec_id(self) -> str | None:
        """The spec's identity, None for a module that is none of ours."""
        return None if self.spec is None else spec_id(self.spec)

    def strides(self, branch: int | None) -> str:
        """Returns the strides that a branch has in the stages, as text; usually it is one."""
        if self.spec is None or branch is None:
            return ""
        found = [shapes[branch].stride for shapes in self.spec.stage_shapes if branch < len(shapes)]
        return ", ".join(map(str, dict.fromkeys(found)))


def labelled(profiles: Sequence[NetworkProfile]) -> tuple[NetworkProfile, ...]:
    """Returns profiles with labels that tell them apart: names, or letters if those do not do.

    Args:
        profiles: The profiles that stand beside each other.
    """
    names = [profile.marked_name for profile in profiles]
    if len(set(names)) == len(names) and max(map(len, names)) <= _LONGEST_LABEL:
        return tuple(profiles)
    letters = string.ascii_uppercase
    labels = [letters[i] if i < len(letters) else f"N{i + 1}" for i in range(len(names))]
    return tuple(replace(each, label=label) for each, label in zip(profiles, labels, strict=True))


def profile_network(
    name: str, spec: NetworkSpec, size: ImageSize, task: str | None = None
) -> NetworkProfile:
    """Returns a network's profile in closed form.

    Args:
        name: What the user calls it.
        spec: The network.
        size: The image's size.
        task: The task that set its outputs.

    Raises:
        BranchworkError: If a stride does not divide the image.
    """
    ops = spec.operations(size)
    each = network_shares(ops, unread_operations(spec))
    counted: dict[tuple[str, str, str, int | None], dict[str, int]] = {}
    for index, op in enumerate(ops):
        stage, slot, layer = (part_name(op, by) for by in (By.STAGE, By.SLOT, By.LAYER))
        place = stage, slot, layer, op.branch
        counts = counted.setdefault(place, dict.fromkeys(CONVENTIONS, 0))
        for convention, values in each.items():
            counts[convention] += values[index]
    return NetworkProfile(
        name=name,
        cost=measure_cost(spec, size),
        places=tuple(
            PlacedCost(stage=stage, slot=slot, layer=layer, branch=branch, counts=counts)
            for (stage, slot, layer, branch), counts in counted.items()
        ),
        spec=spec,
        task=task,
    )


def profile_of_module(name: str, profiled: ModuleProfile) -> NetworkProfile:
    """Returns the profile of a module that is none of ours: it has layers, and nothing else.

    Args:
        name: What the user calls it.
        profiled: What was recorded.
    """
    return NetworkProfile(
        name=name,
        cost=profiled.cost,
        places=tuple(
            PlacedCost(
                stage="", slot="", layer=part.name, branch=None, counts=dict(part.conventions)
            )
            for part in profiled.parts
        ),
        uncounted=dict(profiled.recording.uncounted),
        problem=profiled.problem,
        notes=profiled.notes,
    )


def sums_by(places: Sequence[PlacedCost], key: Callable[[PlacedCost], K]) -> dict[K, Counts]:
    """Adds places up by what the key says of them, in order of appearance.

    Args:
        places: The places.
        key: What the places of one sum have in common.
    """
    sums: dict[K, dict[str, int]] = {}
    for place in places:
        counts = sums.setdefault(key(place), dict.fromkeys(place.counts, 0))
        for name, count in place.counts.items():
            counts[name] += count
    return dict(sums)


def all_conventions(counts: Counts) -> dict[str, int | None]:
    """Returns counts in the order of ``CONVENTIONS``, None for those that there are not."""
    return {name: counts.get(name) for name in CONVENTIONS}


def parts_by(profile: NetworkProfile, by: By) -> tuple[Part, ...]:
    """Splits a profile into parts that add up to its cost, in order of appearance.

    Args:
        profile: The profile.
        by: Into which parts; a module that is none of ours has layers only.
    """
    return tuple(
        Part(name=name, params=counts["params"], macs=counts["macs"], conventions=dict(counts))
        for name, counts in sums_by(profile.places, _PART_OF[by]).items()
    )


_PART_OF: dict[By, Callable[[PlacedCost], str]] = {
    By.STAGE: lambda place: place.stage,
    By.SLOT: lambda place: place.slot,
    By.BRANCH: lambda place: f"branch {place.branch}",
    By.LAYER: lambda place: place.layer,
}
