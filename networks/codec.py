"""Networks on disk: specs to plain data, canonical JSON and ``spec_id``, and back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from blocks import (
    SLOTS,
    BlockSpec,
    LayerSpec,
    Problem,
    Slot,
    SpecError,
    did_you_mean,
    join_address,
    layer_from_dict,
    layer_to_dict,
    quoted,
)
from networks.heads import Head
from networks.spec import GroupSpec, NetworkSpec, StageSpec, UnitSpec

T = TypeVar("T")


def spec_to_dict(spec: NetworkSpec) -> dict[str, Any]:
    """Returns a network as plain data that JSON can hold, every field written out."""
    return _network_dict(spec, lambda slot, layer: layer_to_dict(SLOTS[slot], layer))


def canonical_json(spec: NetworkSpec) -> str:
    """Returns the one JSON text that equal networks share: sorted keys, no spaces."""
    return json.dumps(spec_to_dict(spec), sort_keys=True, separators=(",", ":"))


def spec_id(spec: NetworkSpec) -> str:
    """Returns the first 12 hex digits of the SHA-256 of the network's data.

    The revision of every kind enters, so that networks whose numerics changed have another id.
    """
    data = _network_dict(
        spec, lambda slot, layer: layer_to_dict(SLOTS[slot], layer, with_revisions=True)
    )
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _network_dict(
    spec: NetworkSpec, layer: Callable[[Slot, LayerSpec], dict[str, Any]]
) -> dict[str, Any]:
    return {
        "stem": layer(Slot.STEM, spec.stem),
        "stages": [
            {
                "transition": layer(Slot.TRANSITION, stage.transition),
                "units": [
                    {
                        "body": [
                            {
                                "branches": list(group.branches),
                                "block": layer(Slot.BLOCK, group.block),
                                "depth": group.depth,
                            }
                            for group in unit.body
                        ],
                        "fusion": layer(Slot.FUSION, unit.fusion),
                    }
                    for unit in stage.units
                ],
            }
            for stage in spec.stages
        ],
        "aggregator": layer(Slot.AGGREGATOR, spec.aggregator),
        "head": layer(Slot.HEAD, spec.head),
    }


def spec_from_dict(data: object) -> NetworkSpec:
    """Makes a network from plain data.

    Raises:
        SpecError: With everything that is wrong, each with its address.
    """
    reader = _Reader()
    fields = reader.fields(data, "", ("stem", "stages", "aggregator", "head"))
    stem = reader.layer(Slot.STEM, fields, "stem", "")
    stages = [
        _read_stage(reader, stage, f"stages.{index}")
        for index, stage in enumerate(reader.items(fields, "stages", ""))
    ]
    aggregator = reader.layer(Slot.AGGREGATOR, fields, "aggregator", "")
    head = reader.layer(Slot.HEAD, fields, "head", "")
    reader.raise_problems()
    assert stem is not None
    assert aggregator is not None
    return NetworkSpec(
        stem=stem,
        stages=tuple(cast("list[StageSpec]", stages)),
        aggregator=aggregator,
        head=cast("Head", head),
    )


def stage_from_dict(data: object, where: str) -> StageSpec:
    """Makes one stage from plain data, whatever stands before and after it.

    Args:
        data: What was written.
        where: The stage's address, for messages.

    Raises:
        SpecError: With everything that is wrong.
    """
    reader = _Reader()
    stage = _read_stage(reader, data, where)
    reader.raise_problems()
    assert stage is not None
    return stage


def body_problems(data: object) -> tuple[Problem, ...]:
    """Returns what is wrong with a unit's body as plain data, whatever network it stands in."""
    reader = _Reader()
    for index, group in enumerate(reader.items({"body": data}, "body", "")):
        _read_group(reader, group, f"body.{index}")
    return reader.problems


def _read_stage(reader: _Reader, data: object, where: str) -> StageSpec | None:
    fields = reader.fields(data, where, ("transition",), ("units",))
    transition = reader.layer(Slot.TRANSITION, fields, "transition", where)
    units = [
        _read_unit(reader, unit, f"{where}.units.{index}")
        for index, unit in enumerate(reader.items(fields, "units", where))
    ]
    if transition is None or None in units:
        return None
    return StageSpec(transition=transition, units=tuple(cast("list[UnitSpec]", units)))


def _read_unit(reader: _Reader, data: object, where: str) -> UnitSpec | None:
    fields = reader.fields(data, where, ("body", "fusion"))
    groups = [
        _read_group(reader, group, f"{where}.body.{index}")
        for index, group in enumerate(reader.items(fields, "body", where))
    ]
    fusion = reader.layer(Slot.FUSION, fields, "fusion", where)
    if fusion is None or None in groups:
        return None
    return UnitSpec(body=tuple(cast("list[GroupSpec]", groups)), fusion=fusion)


def _read_group(reader: _Reader, data: object, where: str) -> GroupSpec | None:
    fields = reader.fields(data, where, ("branches", "block"), ("depth",))
    block = reader.layer(Slot.BLOCK, fields, "block", where)
    branches = reader.items(fields, "branches", where)
    if not all(type(branch) is int for branch in branches):
        reader.problem(f"{where}.branches", "branches are whole numbers", branches, "write [0, 1]")
        return None
    if block is None or "branches" not in fields:
        return None
    return reader.attempt(
        where,
        lambda: GroupSpec(
            branches=tuple(branches),
            block=cast("BlockSpec", block),
            depth=fields.get("depth", 1),
        ),
    )


class _Reader:
    """Collects what is wrong while reading, so that it can be raised at once."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def problem(self, where: str, rule: str, got: object, do: str) -> None:
        self._problems.append(Problem(where=where, rule=rule, got=quoted(got), do=do))

    def attempt(self, where: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except SpecError as error:
            self._problems.extend(
                problem.under(where) if not problem.where.startswith(where) else problem
                for problem in error.problems
            )
            return None

    def fields(
        self, data: object, where: str, needed: tuple[str, ...], free: tuple[str, ...] = ()
    ) -> Mapping[str, Any]:
        """Returns an object's fields; nothing if it is none, so that one cause is told once."""
        label = where or "network"
        known = needed + free
        if not isinstance(data, Mapping):
            do = f"write an object with {', '.join(known)}"
            self.problem(label, "an object stands here", data, do)
            return {}
        for name in data:
            if name not in known:
                do = did_you_mean(str(name), known)
                self.problem(label, f"it has the fields {', '.join(known)}", name, do)
        for name in needed:
            if name not in data:
                self._problems.append(
                    Problem(
                        where=label,
                        rule=f"the field {name!r} must be written",
                        got="nothing",
                        do="add it",
                    )
                )
        return data

    def items(self, fields: Mapping[str, Any], name: str, where: str) -> list[Any]:
        """Returns a field's list, an empty one if there is none."""
        data = fields.get(name, [])
        if not isinstance(data, list | tuple):
            self.problem(join_address(where, name), "a list stands here", data, "write a list")
            return []
        return list(data)

    def layer(
        self, slot: Slot, fields: Mapping[str, Any], name: str, where: str
    ) -> LayerSpec | None:
        """Returns a field's layer, None if there is none."""
        if name not in fields:
            return None
        address = join_address(where, name)
        return self.attempt(address, lambda: layer_from_dict(SLOTS[slot], fields[name], address))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was found wrong so far."""
        return tuple(self._problems)

    def raise_problems(self) -> None:
        if self._problems:
            raise SpecError(self._problems)


def read_spec(path: Path) -> NetworkSpec:
    """Reads a network from a JSON spec file.

    Raises:
        SpecError: If the file cannot be read or holds no valid network; the file is named.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        # JSON that is nested too deeply exhausts the parser's stack.
        raise SpecError(
            Problem(
                where=str(path),
                rule="a spec file is readable JSON",
                got=f"{type(error).__name__}: {error}",
                do="mend the file, or write one with 'branchwork show PRESET --json'",
            )
        ) from None
    try:
        return spec_from_dict(data)
    except SpecError as error:
        raise SpecError([_in_file(path, problem) for problem in error.problems]) from None


def _in_file(path: Path, problem: Problem) -> Problem:
    return dataclasses.replace(problem, where=f"{path}: {problem.where}")
