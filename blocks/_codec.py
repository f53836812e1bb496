"""Layers on disk: ``{"kind": "ccw", "reduce_ratio": 8}`` to a spec and back.

A field that is itself a block is written as such an object in its place.

Written by hand rather than with a converter library because every mistake must come back with
its address, its rule and advice, all of them at once, and because nothing may be coerced: ``3.7``
is not a width of 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ._errors import Problem, SpecError, did_you_mean, quoted
from ._fields import FieldInfo, fields_of
from ._layers import BlockSpec, LayerSpec
from ._registry import Registry, Slot
from ._slots import SLOTS

LARGEST_NESTING = 4
"""How deep blocks may stand in fields of blocks."""


def layer_to_dict(
    registry: Registry[Any], layer: LayerSpec, *, with_revisions: bool = False
) -> dict[str, Any]:
    """Returns a registered layer as plain data, every field written out.

    Args:
        registry: The kinds among which it is registered.
        layer: The layer.
        with_revisions: Whether the revision of every kind is written beside its name.
    """
    entry = registry.entry_of(type(layer))
    data: dict[str, Any] = {"kind": entry.name}
    for info in fields_of(type(layer)):
        value = getattr(layer, info.name)
        data[info.name] = plain_value(value, with_revisions=with_revisions)
    return {**data, "revision": entry.revision} if with_revisions else data


def plain_value(value: Any, *, with_revisions: bool = False) -> Any:  # noqa: ANN401 - any field's
    """Returns a field's value as plain data that JSON can hold."""
    if isinstance(value, BlockSpec):
        return layer_to_dict(SLOTS[Slot.BLOCK], value, with_revisions=with_revisions)
    return list(value) if isinstance(value, tuple) else value


def layer_from_dict(registry: Registry[Any], data: object, where: str) -> LayerSpec:
    """Makes a layer from plain data (a mapping, or just the kind's name).

    Args:
        registry: The kinds that can stand here.
        data: What was written.
        where: Its address, for messages.

    Raises:
        SpecError: With everything that is wrong.
    """
    return _read_layer(registry, data, where, 0)


def _read_layer(registry: Registry[Any], data: object, where: str, nesting: int) -> LayerSpec:
    if nesting > LARGEST_NESTING:
        raise SpecError(
            Problem(
                where=where,
                rule=f"blocks stand in fields of blocks at most {LARGEST_NESTING} deep",
                got="one more",
                do="leave some of them out",
            )
        )
    if isinstance(data, str):
        data = {"kind": data}
    if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
        raise SpecError(
            Problem(
                where=where,
                rule=f"every {registry.noun} is an object with a 'kind'",
                got=quoted(data),
                do=f'write {{"kind": "{next(iter(registry)).name}"}}, for example',
            )
        )
    entry = registry.get(data["kind"], where=where)
    label = f"{where} ({entry.name})"
    known = {info.name: info for info in fields_of(entry.cls)}
    problems = [
        Problem(
            where=label,
            rule=f"the {registry.noun} has the fields {', '.join(known) or 'kind alone'}",
            got=quoted(name),
            do=did_you_mean(str(name), known) if known else "leave it out",
        )
        for name in data
        if name != "kind" and name not in known
    ]
    problems += [
        Problem(
            where=label,
            rule=f"the field {info.name!r} must be written",
            got="nothing",
            do=info.help or "add it",
        )
        for info in known.values()
        if info.default is dataclasses.MISSING and info.name not in data
    ]
    values: dict[str, Any] = {}
    for name in (name for name in known if name in data):
        try:
            values[name] = _read_value(known[name], data[name], f"{label}.{name}", nesting)
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    try:
        layer = entry.cls(**values)
    except SpecError as error:
        raise SpecError([problem.under(label) for problem in error.problems]) from None
    assert isinstance(layer, LayerSpec)
    return layer


def _read_value(info: FieldInfo, value: object, where: str, nesting: int) -> object:
    if is_block_field(info):
        return _read_layer(SLOTS[Slot.BLOCK], value, where, nesting + 1)
    return tuple(value) if isinstance(value, list) else value


def is_block_field(info: FieldInfo) -> bool:
    """Tells whether a field holds a block."""
    return isinstance(info.type, type) and issubclass(info.type, BlockSpec)
