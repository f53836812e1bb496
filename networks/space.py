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
    quoted,
)
from networks._applying import (
    KIND_WORDS,
    PER_STAGE,
    WHOLE_NETWORK,
    Data,
    apply_choices,
    branching,
    too_few_branches,
)
from networks.codec import body_problems, spec_from_dict, spec_to_dict
from networks.spec import LARGEST_DEPTH, NetworkSpec

# Eight branches reach a stride of 512.
_LARGEST_BRANCHES = 8


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


def _matches(data: Data, pattern: str) -> Iterator[str]:
    """Yields the addresses of the base that a pattern means."""
    if pattern in WHOLE_NETWORK:
        if branching(data):
            yield pattern
        return
    yield from _walk(data, pattern.split("."), ())


def _walk(data: Any, parts: list[str], done: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401
    head, rest = parts[0], parts[1:]
    in_stage = len(done) == 2 and done[0] == "stages"  # noqa: PLR2004
    if not rest and in_stage and head in PER_STAGE:
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
        and head not in {"kind", "stages"}
        and (head in data or ("kind" in data and _some_kind_has(done, head)))
    ):
        yield ".".join((*done, head))
    elif isinstance(data, dict) and head in KIND_WORDS and _some_kind_has(done, head):
        # A field of another kind than the base's that is a layer itself.
        yield from _walk({"kind": ""}, rest, (*done, head))


def _some_kind_has(done: tuple[str, ...], name: str) -> bool:
    """Tells whether a kind that can stand at this address has a field of this name."""
    slot = KIND_WORDS.get(done[-1]) if done else None
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
            got=quoted(written),
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
    if last == "body" and isinstance(choice, list):
        return [_canonical_group(group) for group in choice]
    slot = KIND_WORDS.get(last)
    if slot is None:
        return choice
    if isinstance(choice, str) and choice in SLOTS[slot]:
        return SLOTS[slot].get(choice).name
    if isinstance(choice, Mapping) and str(choice.get("kind")) in SLOTS[slot]:
        named = {**choice, "kind": SLOTS[slot].get(str(choice["kind"])).name}
        return _with_block_written_out(named) if "block" in choice else named
    return choice


def _canonical_group(group: Any) -> Any:  # noqa: ANN401
    """Writes a group of a body out: its depth, and its block as an object."""
    if not isinstance(group, Mapping) or "block" not in group:
        return group
    return _with_block_written_out({"depth": 1, **group})


def _with_block_written_out(data: Data) -> Data:
    block = _canonical("block", data["block"])
    return {**data, "block": {"kind": block} if isinstance(block, str) else block}


def _choice_problem(data: Data, address: str, choice: Any) -> Problem | None:  # noqa: ANN401
    """Says what keeps a choice from ever standing at an address."""
    last = address.rsplit(".", 1)[-1]
    if address == "branches" or last in {"depth", "units"}:
        return _count_problem(data, address, choice)
    if last in KIND_WORDS:
        return _kind_problem(KIND_WORDS[last], choice)
    # "widths" alone is the shorthand; a transition's widths are a declared field.
    if address == "widths" or last in {"body", "branches"}:
        return _LIST_CHECKS[last](choice)
    infos = _declarations(address)
    expected = [
        mismatch(info, tuple(choice) if isinstance(choice, list) else choice) for info in infos
    ]
    if infos and all(expected):
        return Problem(
            rule=f"choices here must be {expected[0]}",
            got=quoted(choice),
            do="write a list of such values, or 'all'",
        )
    return None


def _count_problem(data: Data, address: str, choice: Any) -> Problem | None:  # noqa: ANN401
    largest = _LARGEST_BRANCHES if address == "branches" else LARGEST_DEPTH
    if not _is_count(choice) or choice > largest:
        return Problem(
            rule=f"choices here are whole numbers from 1 to {largest}",
            got=quoted(choice),
            do="write a list such as [2, 4]",
        )
    return too_few_branches(data, choice) if address == "branches" else None


def _widths_problem(choice: Any) -> Problem | None:  # noqa: ANN401
    if isinstance(choice, list) and choice and all(map(_is_count, choice)):
        return None
    return Problem(
        rule="choices here are lists of widths, one per branch",
        got=quoted(choice),
        do="write a list such as [[40, 80, 160, 320], [30, 60, 120, 240]]",
    )


def _group_branches_problem(choice: Any) -> Problem | None:  # noqa: ANN401
    if isinstance(choice, list) and choice and all(type(branch) is int for branch in choice):
        return None
    return Problem(
        rule="choices here are lists of branch numbers",
        got=quoted(choice),
        do="write a list such as [[0, 1], [0]]",
    )


def _body_problem(choice: Any) -> Problem | None:  # noqa: ANN401
    return next(iter(body_problems(choice)), None)


_LIST_CHECKS: dict[str, Callable[[Any], Problem | None]] = {
    "body": _body_problem,
    "branches": _group_branches_problem,
    "widths": _widths_problem,
}


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _kind_problem(slot: Slot, choice: Any) -> Problem | None:  # noqa: ANN401
    registry = SLOTS[slot]
    kind = choice.get("kind") if isinstance(choice, Mapping) else choice
    if not isinstance(kind, str) or kind not in registry:
        return Problem(
            rule=f"choices here are kinds of {slot.value}",
            got=quoted(choice),
            do=did_you_mean(
                kind if isinstance(kind, str) else "", [entry.name for entry in registry]
            ),
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
    slot = KIND_WORDS.get(holder)
    if slot is None:
        return []
    return [info for entry in SLOTS[slot] for info in fields_of(entry.cls) if info.name == name]


def _choice_order(choice: Any) -> tuple[bool, Any, str]:  # noqa: ANN401
    """Numbers by size, everything else by its text."""
    is_number = isinstance(choice, int | float)
    return (not is_number, choice if is_number else 0, json.dumps(choice, sort_keys=True))


def _every_choice(address: str) -> tuple[Any, ...]:
    last = address.rsplit(".", 1)[-1]
    if last in KIND_WORDS:
        return tuple(entry.name for entry in SLOTS[KIND_WORDS[last]])
    return tuple(value for info in _declarations(address) for value in info.among)


def _unknown_address(data: Data, pattern: str) -> Problem:
    shorthands = list(WHOLE_NETWORK) if branching(data) else []
    advice = did_you_mean(pattern, [*shorthands, *_leaves(data)])
    if not advice.startswith("did you mean"):
        advice = f"write {', '.join([*shorthands, 'stages.*.block'])} or a path of the base's JSON"
    return Problem(
        where=f"free.{pattern}",
        rule="a free address is a place of the base network, or a shorthand",
        got=quoted(pattern),
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
