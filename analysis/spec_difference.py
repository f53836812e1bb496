"""Where networks differ as data: addresses with the values of each, equal parts left out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from blocks import join_address
from networks import NetworkSpec, spec_to_dict


class Absent(Enum):
    """What stands at a place that a network does not have."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


class Difference(NamedTuple):
    """One place at which networks are not all alike.

    Attributes:
        address: The place in the spec.
        values: What stands there in each network, as in a spec file; ``ABSENT`` if nothing does.
    """

    address: str
    values: tuple[Any, ...]


def spec_differences(specs: Sequence[NetworkSpec]) -> tuple[Difference, ...]:
    """Returns every address whose values differ, in order.

    Layers of one kind are compared field by field; layers of different kinds have nothing to
    compare and stand whole.

    Args:
        specs: The networks.
    """
    return tuple(_differences([spec_to_dict(spec) for spec in specs], ""))


def written(value: object) -> str:
    """Writes a value on one line; a layer as its kind with its fields.

    Args:
        value: Plain data or ``ABSENT``.

    >>> written({"kind": "sum", "paths": "dense"}), written([40, 80])
    ('sum(paths=dense)', '[40, 80]')
    """
    if isinstance(value, Mapping) and "kind" in value:
        fields = [f"{name}={written(each)}" for name, each in value.items() if name != "kind"]
        return f"{value['kind']}({', '.join(fields)})" if fields else str(value["kind"])
    if isinstance(value, Absent):
        return value.value
    return value if isinstance(value, str) else json.dumps(value)


def _differences(values: Sequence[object], address: str) -> Iterator[Difference]:
    if all(value == values[0] for value in values):
        return
    there = [value for value in values if value is not ABSENT]
    if all(isinstance(value, Mapping) for value in there):
        fields = [value if isinstance(value, Mapping) else {} for value in values]
        kinds = {str(value.get("kind", "")) for value in fields}
        if len(kinds) == 1:
            for name in dict.fromkeys(name for value in fields for name in value):
                parts = [value.get(name, ABSENT) for value in fields]
                yield from _differences(parts, join_address(address, name))
            return
    if all(_holds_objects(value) for value in there):
        lists = [value if isinstance(value, list) else [] for value in values]
        for index in range(max(map(len, lists))):
            parts = [value[index] if index < len(value) else ABSENT for value in lists]
            yield from _differences(parts, join_address(address, str(index)))
        return
    yield Difference(address, tuple(values))


def _holds_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)
