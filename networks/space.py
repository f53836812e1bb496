"""``SpecSpace``: a base network with free addresses, each with its choices.

A row of choice indices picks one network. Free addresses are JSON paths of the base
(``stages.1.units.0.fusion``), with ``*`` for any index, or shorthands that set many places alike:

* ``branches``: the largest number of branches; coarser stages are dropped or added.
* ``widths``: the width of every branch, finest first.
* ``block``, ``fusion``, ``depth``, ``units``: alike in every stage over several branches,
  or in one stage, as ``stages.1.block``.

Where two addresses mean one place, the more special one decides. A place that the picked network
does not have (the ratio of another block, a unit that was dropped) is left out.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from blocks import (
    SLOTS,
    FieldInfo,
    Problem,
    Slot,
    SpecError,
    StudyError,
    did_you_mean,
    fields_of,
    layer_from_dict,
    mismatch,
)
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
        # The fewer wildcards, the more special; what is resolved last stands.
        for pattern in sorted(free, key=lambda pattern: -pattern.count("*")):
            written = free[pattern]
            addresses = list(_matches(data, pattern))
            if not addresses:
                problems.append(_unknown_address(data, pattern))
            for address in addresses:
                choices = _choices(data, address, written)
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

    The general comes before the special, and so kinds before their fields; then the numbers of
    units and branches, which copy and drop what was set; widths last.
    """
    data = copy.deepcopy(base)
    for address in sorted(picked, key=_order):
        _setter(address)(data, address.split("."), copy.deepcopy(picked[address]))
    return data


def _order(address: str) -> tuple[int, int, str]:
    phase = 1 if address.endswith("units") else {"branches": 2, "widths": 3}.get(address, 0)
    if address.endswith(".transition.widths"):
        phase = 4
    return (phase, address.count("."), address)


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
            group["block"] = _of_kind(Slot.BLOCK, group["block"], value)


def _set_fusion(stage: Data, value: Any) -> None:  # noqa: ANN401
    for unit in stage["units"]:
        unit["fusion"] = _of_kind(Slot.FUSION, unit["fusion"], value)


def _set_depth(stage: Data, value: Any) -> None:  # noqa: ANN401
    for unit in stage["units"]:
        for group in unit["body"]:
            group["depth"] = value


def _set_units(stage: Data, value: int) -> None:
    units = stage["units"]
    if not units:
        return
    # A longer stage repeats its first unit, a shorter one drops its first: the last stays last,
    # because it may put out fewer branches than those before it.
    added = [copy.deepcopy(units[0]) for _ in range(value - len(units))]
    for unit in added:
        _put_out_every_branch(unit)
    stage["units"] = added + units[-value:]


def _put_out_every_branch(unit: Data) -> None:
    if "outputs" in unit["fusion"]:
        unit["fusion"]["outputs"] = "all"


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
    problem = _too_few_branches(data, value)
    if problem is not None:
        raise SpecError(replace(problem, where="branches"))
    kept = [s for s in _stages(data) if len(s["transition"].get("widths", ())) <= value]
    # What the last stage puts out is what the aggregator and the head were made for.
    _take_over_outputs(kept[-1], _stages(data)[-1])
    while len(kept[-1]["transition"]["widths"]) < value:
        kept.append(_grown(kept[-1]))
        for unit in kept[-2]["units"]:
            _put_out_every_branch(unit)
    data["stages"] = kept


def _too_few_branches(data: Data, value: int) -> Problem | None:
    fewest = min((len(s["transition"]["widths"]) for s in _branching(data)), default=0)
    if value >= fewest:
        return None
    return Problem(
        rule=f"the base's first stage over several branches has {fewest}",
        got=str(value),
        do=f"write {fewest} or more",
    )


def _take_over_outputs(stage: Data, last: Data) -> None:
    if not stage["units"] or not last["units"]:
        return
    ours, theirs = stage["units"][-1]["fusion"], last["units"][-1]["fusion"]
    if "outputs" in ours and "outputs" in theirs:
        ours["outputs"] = theirs["outputs"]


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


def _of_kind(slot: Slot, current: Data, value: Any) -> Data:  # noqa: ANN401
    """A kind's name keeps the fields that stand there if the kind stays.

    Another kind keeps those that have no default, such as widths, and the number of outputs,
    which the task decides.
    """
    if not isinstance(value, str):
        return dict(value)
    entry = SLOTS[slot].get(value)
    if entry.name == current["kind"]:
        return current
    kept = {
        info.name: current[info.name]
        for info in fields_of(entry.cls)
        if info.name in current
        and (info.default is dataclasses.MISSING or info.name == "num_outputs")
    }
    return {"kind": entry.name, **kept}


def _set_path(data: Data, path: list[str], value: Any) -> None:  # noqa: ANN401
    """Sets one place; one that this network does not have is left out."""
    holder = _descend(data, path[:-1])
    last = path[-1]
    if not isinstance(holder, dict):
        return
    if last in _KIND_WORDS and last in holder:
        holder[last] = _of_kind(_KIND_WORDS[last], holder[last], value)
    elif last in holder or _is_field_of(holder, path, last):
        holder[last] = value


def _is_field_of(holder: Data, path: list[str], name: str) -> bool:
    slot = _KIND_WORDS.get(path[-2]) if len(path) > 1 else None
    if slot is None or "kind" not in holder:
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
        # A place in a list is no address: what stands there has addresses of its own.
        indices = range(len(data)) if head == "*" else [int(head)] if head.isdigit() else []
        for index in indices:
            if rest and index < len(data):
                yield from _walk(data[index], rest, (*done, str(index)))
    elif isinstance(data, dict) and head in data and rest:
        yield from _walk(data[head], rest, (*done, head))
    elif (
        isinstance(data, dict)
        and not rest
        and head != "kind"
        and (head in data or ("kind" in data and _some_kind_has(done, head)))
    ):
        yield ".".join((*done, head))


def _some_kind_has(done: tuple[str, ...], name: str) -> bool:
    """Tells whether a kind that can stand at this address has a field of this name."""
    slot = _KIND_WORDS.get(done[-1]) if done else None
    if slot is None:
        return False
    return any(info.name == name for entry in SLOTS[slot] for info in fields_of(entry.cls))


def _choices(data: Data, address: str, written: object) -> tuple[Any, ...] | Problem:
    last = address.rsplit(".", 1)[-1]
    if written == "all":
        every = _every_choice(address)
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
    choices = [_canonical(last, choice) for choice in written]
    for choice in choices:
        problem = _choice_problem(data, address, choice)
        if problem is not None:
            return replace(problem, where=address)
    unique = {json.dumps(choice, sort_keys=True): choice for choice in choices}
    return tuple(sorted(unique.values(), key=_choice_order))


def _canonical(last: str, choice: Any) -> Any:  # noqa: ANN401 - plain data
    """Writes aliases of kinds as the kinds' names, so that equal choices are equal text."""
    slot = _KIND_WORDS.get(last)
    if slot is None:
        return choice
    if isinstance(choice, str) and choice in SLOTS[slot]:
        return SLOTS[slot].get(choice).name
    if isinstance(choice, Mapping) and str(choice.get("kind")) in SLOTS[slot]:
        return {**choice, "kind": SLOTS[slot].get(str(choice["kind"])).name}
    return choice


def _choice_problem(data: Data, address: str, choice: Any) -> Problem | None:  # noqa: ANN401
    """Says what keeps a choice from ever standing at an address."""
    last = address.rsplit(".", 1)[-1]
    if (address == "branches" or last in {"depth", "units"}) and not _is_count(choice):
        return Problem(
            rule="choices here are whole numbers of at least 1",
            got=repr(choice),
            do="write a list such as [2, 4]",
        )
    if address == "branches":
        return _too_few_branches(data, choice)
    if address == "widths" and not (isinstance(choice, list) and all(map(_is_count, choice))):
        return Problem(
            rule="choices here are lists of widths, one per branch",
            got=repr(choice),
            do="write a list such as [[40, 80, 160, 320], [30, 60, 120, 240]]",
        )
    if last in _KIND_WORDS:
        return _kind_problem(_KIND_WORDS[last], choice)
    infos = _declarations(address)
    expected = [
        mismatch(info, tuple(choice) if isinstance(choice, list) else choice) for info in infos
    ]
    if infos and all(expected):
        return Problem(
            rule=f"choices here must be {expected[0]}",
            got=repr(choice),
            do="write a list of such values, or 'all'",
        )
    return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _kind_problem(slot: Slot, choice: Any) -> Problem | None:  # noqa: ANN401
    registry = SLOTS[slot]
    kind = choice.get("kind") if isinstance(choice, Mapping) else choice
    if not isinstance(kind, str) or kind not in registry:
        return Problem(
            rule=f"choices here are kinds of {slot.value}",
            got=repr(choice),
            do=did_you_mean(str(kind), [entry.name for entry in registry]),
        )
    if isinstance(choice, Mapping):
        try:
            layer_from_dict(registry, choice, "")
        except SpecError as error:
            return error.problems[0]
    return None


def _declarations(address: str) -> list[FieldInfo]:
    """The fields that this address means, one for each kind that has it."""
    *_, holder, name = ["", *address.split(".")]
    slot = _KIND_WORDS.get(holder)
    if slot is None:
        return []
    return [info for entry in SLOTS[slot] for info in fields_of(entry.cls) if info.name == name]


def _choice_order(choice: Any) -> tuple[bool, Any, str]:  # noqa: ANN401
    """Numbers by size, everything else by its text."""
    is_number = isinstance(choice, int | float)
    return (not is_number, choice if is_number else 0, json.dumps(choice, sort_keys=True))


def _every_choice(address: str) -> tuple[Any, ...]:
    last = address.rsplit(".", 1)[-1]
    if last in _KIND_WORDS:
        return tuple(entry.name for entry in SLOTS[_KIND_WORDS[last]])
    return tuple(value for info in _declarations(address) for value in info.among)


def _unknown_address(data: Data, pattern: str) -> Problem:
    shorthands = list(_WHOLE_NETWORK) if _branching(data) else []
    advice = did_you_mean(pattern, [*shorthands, *_leaves(data)])
    if not advice.startswith("did you mean"):
        advice = f"write {', '.join([*shorthands, 'stages.*.block'])} or a path of the base's JSON"
    return Problem(
        where=f"free.{pattern}",
        rule="a free address is a place of the base network, or a shorthand",
        got=repr(pattern),
        do=advice,
    )


def _leaves(data: Any, prefix: str = "") -> Iterator[str]:  # noqa: ANN401
    """The addresses of plain data: every key but ``kind``, whatever stands there."""
    is_list = isinstance(data, list)
    for key, value in enumerate(data) if is_list else data.items():
        address = f"{prefix}.{key}" if prefix else str(key)
        if not is_list and key != "kind":
            yield address
        if isinstance(value, dict | list):
            yield from _leaves(value, address)
