"""Layers on disk: ``{"kind": "ccw", "reduce_ratio": 8}`` to a spec and back.

Written by hand rather than with a converter library because every mistake must come back with
its address, its rule and advice, all of them at once, and because nothing may be coerced: ``3.7``
is not a width of 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ._errors import Problem, SpecError, did_you_mean, quoted
from ._fields import fields_of
from ._layers import LayerSpec
from ._registry import Registry


def layer_to_dict(registry: Registry[Any], layer: LayerSpec) -> dict[str, Any]:
    """Returns a registered layer as plain data, every field written out."""
    data: dict[str, Any] = {"kind": registry.entry_of(type(layer)).name}
    for info in fields_of(type(layer)):
        value = getattr(layer, info.name)
        data[info.name] = list(value) if isinstance(value, tuple) else value
    return data


def layer_from_dict(registry: Registry[Any], data: object, where: str) -> LayerSpec:
    """Makes a layer from plain data (a mapping, or just the kind's name).

    Args:
        registry: The kinds that can stand here.
        data: What was written.
        where: Its address, for messages.

    Raises:
        SpecError: With everything that is wrong.
    """
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
    if problems:
        raise SpecError(problems)
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in data.items()
        if name != "kind"
    }
    try:
        layer = entry.cls(**values)
    except SpecError as error:
        raise SpecError([problem.under(label) for problem in error.problems]) from None
    assert isinstance(layer, LayerSpec)
    return layer
