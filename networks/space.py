"""``SpecSpace``: a base network with free addresses, each with its choices.

A row of choice indices picks one network. Free addresses are JSON paths of the base
(``stages.1.units.0.fusion``), with ``*`` for any index, or shorthands that set many places alike:

* ``branches``: the largest number of branches; coarser stages are dropped or added.
* ``widths``: the width of every branch, finest first.
* ``block``, ``fusion``, ``depth``, ``units``: alike in every stage over several branches,
  or in one stage, as ``stages.1.block``.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from blocks import SLOTS, Problem, Slot, SpecError, StudyError, did_you_mean, fields_of
from networks.codec import spec_from_dict, spec_to_dict
from networks.spec import NetworkSpec

Data = dict[str, Any]

_KIND_WORDS = {
    "stem": Slot.STEM,
    "transition": Slot.TRANSITION,
    "block": Slot.BLOCK,
    "fusion": Slot.FUSION,
    "aggregator": Slot.AGGREGATOR,
    "head": Slot.HEAD,
}
_COUNTS = ("branches", "depth", "units")


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One free address.

    Attributes:
        address: Where the choice goes.
        choices: The values, as plain data, in a fixed order.
    """

    address: str
    choices: tuple[Any, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The choices as short texts, different from each other."""
        return tuple(json.dumps(choice, sort_keys=True) for choice in self.choices)


@dataclass(frozen=True, kw_only=True)
class SpecSpace:
    """A base network and its free addresses.

    Attributes:
        base: The network that stands wherever nothing is free.
        dimensions: The free addresses, in order.
    """

    base: NetworkSpec
    dimensions: tuple[Dimension, ...]

    @classmethod
    def resolve(cls, base: NetworkSpec, free: Mapping[str, object]) -> SpecSpace:
        """Makes a space from what a study file says: ``*`` and ``"all"`` are written out.

        Args:
            base: The network.
            free: Addresses with lists of choices, or ``"all"``.

        Raises:
            StudyError: With every address or choice that makes no sense.
        """
        data = spec_to_dict(base)
        problems: list[Problem] = []
        dimensions: dict[str, Dimension] = {}
        for pattern, written in free.items():
            addresses = list(_matches(data, pattern))
            if not addresses:
                problems.append(_unknown_address(data, pattern))
            for address in addresses:
                choices = _choices(data, address, written, free)
                if isinstance(choices, Problem):
                    problems.append(choices)
                    break
                dimensions[address] = Dimension(address=address, choices=choices)
        if problems:
            raise StudyError(problems)
        ordered = tuple(dimensions[address] for address in sorted(dimensions))
        return cls(base=base, dimensions=ordered)

    @property
    def size(self) -> int:
        """Number of rows of choice indices (some may pick the same network)."""
        return math.prod(len(dimension.choices) for dimension in self.dimensions)

    @cached_property
    def _base_data(self) -> Data:
        return spec_to_dict(self.base)

    def spec(self, choices: Sequence[int]) -> NetworkSpec:
        """Returns the network that a row of choice indices picks.

        Args:
            choices: One index per dimension.

        Raises:
            SpecError: If these choices do not fit together.
        """
        picked = {
            dimension.address: dimension.choices[index]
            for dimension, index in zip(self.dimensions, choices, strict=True)
        }
        return spec_from_dict(apply_choices(self._base_data, picked))

    def rows(self) -> Iterator[tuple[int, ...]]:
        """Iterates over all rows of choice indices."""
        return itertools.product(*(range(len(d.choices)) for d in self.dimensions))


def apply_choices(base: Data, picked: Mapping[str, Any]) -> Data:
    """Returns plain data of a network with values set at addresses; the base stays as it is.

    The general comes before the special, kinds before their fields, what stands in a unit before
    the number of units, and widths last.
    """
    data = copy.deepcopy(base)
    for address in sorted(picked, key=_order):
        _setter(address)(data, address.split("."), copy.deepcopy(picked[address]))
    return data


def _order(address: str) -> tuple[int, int, str]:
    last = address.rsplit(".", 1)[-1]
    if last == "widths" and address == "widths":
        return (5, 0, address)
    if address == "branches":
        return (4, 0, address)
    if last in {"depth", "units"} and "body" not in address:
        return (3, len(address), address)
    is_field = last not in _KIND_WORDS
    return (1 if is_field else 0, address.count("."), address)


def _setter(address: str) -> Callable[[Data, list[str], Any], None]:
    parts = address.split(".")
    if address in _WHOLE_NETWORK:
        return _WHOLE_NETWORK[address]
    if len(parts) == 3 and parts[0] == "stages" and parts[2] in _PER_STAGE:  # noqa: PLR2004
        setter = _PER_STAGE[parts[2]]
        return lambda data, path, value: setter(_stages(data)[int(path[1])], value)
    return _set_path


def _stages(data: Data) -> list[Data]:
    stages: list[Data] = data["stages"]
    return stages


def _branching(data: Data) -> list[Data]:
    """The stages whose transition sets the widths of several branches."""
    return [stage for stage in _stages(data) if "widths" in stage["transition"]]


def _everywhere(set_stage: Callable[[Data, Any], None]) -> Callable[[Data, list[str], Any], None]:
    def setter(data: Data, _: list[str], value: Any) -> None:  # noqa: ANN401 - plain data
        for stage in _branching(data):
            set_stage(stage, value)

    return setter


def _set_block(stage: Data, value: Any) -> None:  # noqa: ANN401
    for unit in stage["units"]:
        for group in unit["body"]:
            group["block"] = _of_kind(group["block"], value)


def _set_fusion(stage: Data, value: Any) -> None:  # noqa: ANN401
    for unit in stage["units"]:
        unit["fusion"] = _of_kind(unit["fusion"], value)


def _set_depth(stage: Data, value: Any) -> None:  # noqa: ANN401
    for unit in stage["units"]:
        for group in unit["body"]:
            group["depth"] = value


def _set_units(stage: Data, value: int) -> None:
    units = stage["units"]
    # A longer stage repeats its first unit: the last may put out fewer branches.
    stage["units"] = [copy.deepcopy(units[0]) for _ in range(value - len(units))] + units[-value:]


def _set_widths(data: Data, _: list[str], value: list[int]) -> None:
    for stage in _branching(data):
        count = len(stage["transition"]["widths"])
        if len(value) < count:
            raise SpecError(
                Problem(
                    where="widths",
                    rule="there is a width for every branch",
                    got=f"{len(value)} widths for {count} branches",
                    do=f"write {count} widths",
                )
            )
        stage["transition"]["widths"] = value[:count]


def _set_branches(data: Data, _: list[str], value: int) -> None:
    fewest = min((len(s["transition"]["widths"]) for s in _branching(data)), default=0)
    if value < fewest or not fewest:
        raise SpecError(
            Problem(
                where="branches",
                rule=f"the base's first stage over several branches has {fewest}",
                got=str(value),
                do=f"write {fewest} or more",
            )
        )
    kept = [s for s in _stages(data) if len(s["transition"].get("widths", ())) <= value]
    dropped = len(kept) < len(_stages(data))
    if dropped:
        # What the last stage puts out is what the aggregator and the head were made for.
        _take_over_last_fusion(kept[-1], _stages(data)[-1])
    while len(_branching({"stages": kept})[-1]["transition"]["widths"]) < value:
        kept.append(_grown(kept[-1]))
        kept[-2]["units"] = [copy.deepcopy(kept[-2]["units"][0]) for _ in kept[-2]["units"]]
    data["stages"] = kept


def _take_over_last_fusion(stage: Data, last: Data) -> None:
    if stage["units"] and last["units"]:
        stage["units"][-1]["fusion"] = copy.deepcopy(last["units"][-1]["fusion"])


def _grown(stage: Data) -> Data:
    """Returns a stage with one more branch, twice as wide, that joins the last branch's group."""
    grown = copy.deepcopy(stage)
    widths = grown["transition"]["widths"]
    new_branch = len(widths)
    widths.append(2 * widths[-1])
    for unit in grown["units"]:
        group = next(g for g in unit["body"] if new_branch - 1 in g["branches"])
        group["branches"].append(new_branch)
    return grown


def _of_kind(current: Data, value: Any) -> Data:  # noqa: ANN401
    """A kind's name keeps the fields that stand there if the kind stays."""
    if isinstance(value, str):
        return current if current["kind"] == value else {"kind": value}
    return dict(value)


def _set_path(data: Data, path: list[str], value: Any) -> None:  # noqa: ANN401
    """Sets one place; one that this network does not have is left out."""
    holder = _descend(data, path[:-1])
    last = path[-1]
    if holder is None:
        return
    if last in _KIND_WORDS and last in holder:
        holder[last] = _of_kind(holder[last], value)
    elif last in holder or _is_field_of(holder, path, last):
        holder[last] = value


def _is_field_of(holder: Any, path: list[str], name: str) -> bool:  # noqa: ANN401
    slot = _KIND_WORDS.get(path[-2]) if len(path) > 1 else None
    if slot is None or not isinstance(holder, dict) or "kind" not in holder:
        return False
    cls = SLOTS[slot].get(holder["kind"]).cls
    return any(info.name == name for info in fields_of(cls))


def _descend(data: Any, path: list[str]) -> Any:  # noqa: ANN401
    for part in path:
        if isinstance(data, list):
            if int(part) >= len(data):
                return None
            data = data[int(part)]
        elif isinstance(data, dict) and part in data:
            data = data[part]
        else:
            return None
    return data


_PER_STAGE: dict[str, Callable[[Data, Any], None]] = {
    "block": _set_block,
    "fusion": _set_fusion,
    "depth": _set_depth,
    "units": _set_units,
}

_WHOLE_NETWORK: dict[str, Callable[[Data, list[str], Any], None]] = {
    "branches": _set_branches,
    "widths": _set_widths,
    **{name: _everywhere(setter) for name, setter in _PER_STAGE.items()},
}


def _matches(data: Data, pattern: str) -> Iterator[str]:
    """Yields the addresses of the base that a pattern means."""
    if pattern in _WHOLE_NETWORK:
        if _branching(data):
            yield pattern
        return
    yield from _walk(data, pattern.split("."), ())


def _walk(data: Any, parts: list[str], done: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401
    head, rest = parts[0], parts[1:]
    in_stage = len(done) == 2 and done[0] == "stages"  # noqa: PLR2004
    if not rest and in_stage and head in _PER_STAGE:
        if data["units"]:
            yield ".".join((*done, head))
    elif isinstance(data, list):
        indices = range(len(data)) if head == "*" else [int(head)] if head.isdigit() else []
        for index in indices:
            if index < len(data):
                if rest:
                    yield from _walk(data[index], rest, (*done, str(index)))
                else:
                    yield ".".join((*done, str(index)))
    elif isinstance(data, dict) and head in data and rest:
        yield from _walk(data[head], rest, (*done, head))
    elif isinstance(data, dict) and not rest and (head in data or "kind" in data):
        if head in data or _some_kind_has(done, head):
            yield ".".join((*done, head))


def _some_kind_has(done: tuple[str, ...], name: str) -> bool:
    """Tells whether a kind that can stand at this address has a field of this name."""
    slot = _KIND_WORDS.get(done[-1]) if done else None
    if slot is None:
        return False
    return any(info.name == name for entry in SLOTS[slot] for info in fields_of(entry.cls))


def _choices(
    data: Data, address: str, written: object, free: Mapping[str, object]
) -> tuple[Any, ...] | Problem:
    del free
    last = address.rsplit(".", 1)[-1]
    if written == "all":
        every = _every_choice(data, address)
        if not every:
            return Problem(
                where=address,
                rule="'all' stands for declared choices, and none are declared here",
                got="'all'",
                do="write a list of choices",
            )
        written = list(every)
    if not isinstance(written, list | tuple) or not written:
        return Problem(
            where=address,
            rule="a free address has a list of choices, or 'all'",
            got=repr(written),
            do="write a list such as [2, 4]",
        )
    if last in _COUNTS and not all(
        isinstance(c, int) and not isinstance(c, bool) and c >= 1 for c in written
    ):
        return Problem(
            where=address,
            rule="choices here are whole numbers of at least 1",
            got=repr(written),
            do="write a list such as [2, 4]",
        )
    if last in _KIND_WORDS:
        for choice in written:
            kind = choice.get("kind") if isinstance(choice, dict) else choice
            registry = SLOTS[_KIND_WORDS[last]]
            if not isinstance(kind, str) or kind not in registry:
                known = [entry.name for entry in registry]
                return Problem(
                    where=address,
                    rule=f"choices here are kinds of {last}",
                    got=repr(choice),
                    do=did_you_mean(str(kind), known),
                )
    unique = {json.dumps(choice, sort_keys=True): choice for choice in written}
    return tuple(sorted(unique.values(), key=_choice_order))


def _choice_order(choice: Any) -> tuple[bool, Any, str]:  # noqa: ANN401
    """Numbers by size, everything else by its text."""
    is_number = isinstance(choice, int | float)
    return (not is_number, choice if is_number else 0, json.dumps(choice, sort_keys=True))


def _every_choice(data: Data, address: str) -> tuple[Any, ...]:
    parts = address.split(".")
    if parts[-1] in _KIND_WORDS:
        return tuple(entry.name for entry in SLOTS[_KIND_WORDS[parts[-1]]])
    holder = _descend(data, parts[:-1])
    slot = _KIND_WORDS.get(parts[-2]) if len(parts) > 1 else None
    if slot is None or not isinstance(holder, dict) or "kind" not in holder:
        return ()
    return tuple(
        value
        for entry in SLOTS[slot]
        for info in fields_of(entry.cls)
        if info.name == parts[-1]
        for value in info.among
    )


def _unknown_address(data: Data, pattern: str) -> Problem:
    known = [*_WHOLE_NETWORK, *_leaves(data)]
    return Problem(
        where=f"free.{pattern}",
        rule="a free address is a place of the base network, or a shorthand",
        got=repr(pattern),
        do=did_you_mean(pattern, known)
        if _close(pattern, known)
        else f"write one of {', '.join(_WHOLE_NETWORK)}, stages.*.block, stages.*.units, or a "
        "path of the base's JSON",
    )


def _close(pattern: str, known: Sequence[str]) -> bool:
    return did_you_mean(pattern, known).startswith("did you mean")


def _leaves(data: Any, prefix: str = "") -> Iterator[str]:  # noqa: ANN401
    items = enumerate(data) if isinstance(data, list) else data.items()
    for key, value in items:
        address = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict | list) and not isinstance(value, str):
            yield address
            if value and isinstance(value, dict | list):
                yield from _leaves(value, address) if _has_parts(value) else ()
        elif key != "kind":
            yield address


def _has_parts(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, dict) or any(isinstance(item, dict) for item in value)
