"""Sets values at addresses of a network's plain data."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from blocks import SLOTS, Problem, Slot, SpecError, fields_of

Data = dict[str, Any]

KIND_WORDS = {slot.value: slot for slot in Slot}
"""The keys of plain data under which a layer stands, and its slot."""


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
    if address in WHOLE_NETWORK:
        return WHOLE_NETWORK[address]
    if len(parts) == 3 and parts[0] == "stages" and parts[2] in PER_STAGE:  # noqa: PLR2004
        setter = PER_STAGE[parts[2]]
        return lambda data, path, value: setter(_stages(data)[int(path[1])], value)
    return _set_path


def _stages(data: Data) -> list[Data]:
    stages: list[Data] = data["stages"]
    return stages


def branching(data: Data) -> list[Data]:
    """The stages whose transition sets the widths of several branches."""
    return [stage for stage in _stages(data) if "widths" in stage["transition"]]


def _everywhere(set_stage: Callable[[Data, Any], None]) -> Callable[[Data, list[str], Any], None]:
    def setter(data: Data, _: list[str], value: Any) -> None:  # noqa: ANN401 - plain data
        for stage in branching(data):
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
    for stage in branching(data):
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
    problem = too_few_branches(data, value)
    if problem is not None:
        raise SpecError(replace(problem, where="branches"))
    kept = [s for s in _stages(data) if len(s["transition"].get("widths", ())) <= value]
    # What the last stage puts out is what the aggregator and the head were made for.
    _take_over_outputs(kept[-1], _stages(data)[-1])
    # A transition of a single branch has no widths, and no branch grows from it.
    while value > len(kept[-1]["transition"].get("widths", range(value))):
        kept.append(_grown(kept[-1]))
        for unit in kept[-2]["units"]:
            _put_out_every_branch(unit)
    data["stages"] = kept


def too_few_branches(data: Data, value: int) -> Problem | None:
    """Says that the base cannot have so few branches, if it cannot."""
    fewest = min((len(s["transition"]["widths"]) for s in branching(data)), default=0)
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
        # A body that leaves the last branch out is no unit's: reading the network says so.
        for group in unit["body"]:
            if new_branch - 1 in group["branches"]:
                group["branches"].append(new_branch)
    return grown


def _of_kind(slot: Slot, current: Data, value: Any) -> Data:  # noqa: ANN401
    """A kind's name keeps the fields that stand there if the kind stays.

    Another kind keeps those that have no default, such as widths, and the number of outputs,
    which the task decides; so does a kind that is written with fields of its own.
    """
    written = {"kind": value} if isinstance(value, str) else value
    entry = SLOTS[slot].get(written["kind"])
    if isinstance(value, str) and entry.name == current["kind"]:
        return current
    kept = {
        info.name: current[info.name]
        for info in fields_of(entry.cls)
        if info.name in current
        and (info.default is dataclasses.MISSING or info.name == "num_outputs")
    }
    return {**kept, **written, "kind": entry.name}


def _set_path(data: Data, path: list[str], value: Any) -> None:  # noqa: ANN401
    """Sets one place; one that this network does not have is left out."""
    holder = _descend(data, path[:-1])
    last = path[-1]
    if not isinstance(holder, dict):
        return
    if last in KIND_WORDS and last in holder:
        holder[last] = _of_kind(KIND_WORDS[last], holder[last], value)
    elif last in holder:
        holder[last] = value
    elif _is_field_of(holder, path, last):
        # A kind is written as an object, so that its fields can be set next.
        is_name = last in KIND_WORDS and isinstance(value, str)
        holder[last] = {"kind": value} if is_name else value


def _is_field_of(holder: Data, path: list[str], name: str) -> bool:
    slot = KIND_WORDS.get(path[-2]) if len(path) > 1 else None
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


PER_STAGE: dict[str, Callable[[Data, Any], None]] = {
    "block": _set_block,
    "fusion": _set_fusion,
    "depth": _set_depth,
    "units": _set_units,
}
"""Shorthands that set many places of one stage, or of every stage over several branches."""

WHOLE_NETWORK: dict[str, Callable[[Data, list[str], Any], None]] = {
    "branches": _set_branches,
    "widths": _set_widths,
    **{name: _everywhere(setter) for name, setter in PER_STAGE.items()},
}
"""Shorthands that set many places of the whole network."""
