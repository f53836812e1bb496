"""Tables of profiles, in plain text: every report's formats write the same ones.

Counts are whole numbers for one image. Shares and relative differences are rounded to 0.1 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.conventions import CONVENTIONS, convention_rule
from analysis.profiles import Counts, K, NetworkProfile, PlacedCost, sums_by
from analysis.spec_difference import spec_differences, written

HEADLINES = ("params", "macs", "paper", "fvcore", "thop")
"""Conventions that tables of parts show."""

UNITS = dict.fromkeys(CONVENTIONS, "operations") | {
    "params": "values",
    "macs": "MACs",
    "published_execution": "MACs",
    "flops": "FLOPs",
    "activations": "elements",
    "bytes_moved": "bytes",
    "kernels": "calls",
}
"""What each convention counts; ``operations`` are those of the tool's own rule."""

_WITH_SHARES = frozenset({"params", "macs"})


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table for readers.

    Attributes:
        title: What it shows.
        note: What its numbers are, in a sentence or two.
        head: The columns' names, with their units.
        rows: The cells.
        num_text: How many columns, the first ones, hold text.
        long_columns: Columns whose texts may need several lines.
    """

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_text: int
    long_columns: tuple[int, ...] = ()


def summary_table(
    profiles: Sequence[NetworkProfile], *, long_names_in_note: bool = False
) -> TextTable:
    """Returns one row a network: what it is, what it was counted for, params and MACs.

    Args:
        profiles: The networks.
        long_names_in_note: Whether names that labels stand for are told below the table.
    """
    are_names = all(profile.label == profile.marked_name for profile in profiles)
    with_both = not are_names and not long_names_in_note
    names = "; ".join(f"{profile.label}: {profile.marked_name}" for profile in profiles)
    rows = [
        (
            profile.label,
            *((profile.marked_name,) if with_both else ()),
            profile.spec_id or "-",
            profile.task or "-",
            str(profile.cost.input),
            str(profile.spec.num_outputs) if profile.spec else "-",
            f"{profile.cost.params:,}",
            f"{profile.cost.macs:,}",
        )
        for profile in profiles
    ]
    head = ("network", "spec_id", "task", "input, px", "outputs", _head("params"), _head("macs"))
    return TextTable(
        title="Summary",
        note="One image, height x width; whole numbers, nothing rounded. "
        f"params: {convention_rule('params')} macs: {convention_rule('macs')}"
        + ("" if are_names or with_both else f" {names}."),
        head=("label", *head) if with_both else head,
        rows=tuple(rows),
        num_text=5 if with_both else 4,
    )


def conventions_table(profiles: Sequence[NetworkProfile]) -> TextTable:
    """Returns one row a convention, with every network's number."""
    return TextTable(
        title="Counts by convention",
        note=f"One image; whole numbers, nothing rounded.{unknown_note(profiles)}",
        head=("convention", "unit", *(each.label for each in profiles)),
        rows=tuple(
            (name, UNITS[name], *(count_text(each.counts[name]) for each in profiles))
            for name in CONVENTIONS
        ),
        num_text=2,
    )


def rules_table() -> TextTable:
    """Returns what every convention counts."""
    return TextTable(
        title="What each convention counts",
        note="Conventions differ in what they count, so their numbers do not compare.",
        head=("convention", "rule"),
        rows=tuple((name, convention_rule(name)) for name in CONVENTIONS),
        num_text=2,
        long_columns=(1,),
    )


def stage_table(
    profile: NetworkProfile, conventions: Sequence[str] = HEADLINES
) -> TextTable | None:
    """Returns costs by stage and slot, None for a module that has neither."""
    if profile.spec is None:
        return None
    return TextTable(
        title=f"{profile.marked_name}: cost by stage and slot",
        note=_parts_note(profile),
        head=("stage", "slot", *_count_heads(conventions)),
        rows=_part_rows(profile, lambda place: (place.stage, place.slot), conventions),
        num_text=2,
    )


def branch_table(
    profile: NetworkProfile, conventions: Sequence[str] = HEADLINES
) -> TextTable | None:
    """Returns costs by branch, None for a module that has none of ours."""
    if profile.spec is None:
        return None

    def key(place: PlacedCost) -> tuple[str, str]:
        name = "no single one" if place.branch is None else str(place.branch)
        return name, profile.strides(place.branch)

    return TextTable(
        title=f"{profile.marked_name}: cost by branch",
        note="Branch 0 is the finest; strides are relative to the image. An exchange counts for "
        f"the branch that its operation says. {_parts_note(profile)}",
        head=("branch", "stride", *_count_heads(conventions)),
        rows=_part_rows(profile, key, conventions, in_order=True),
        num_text=2,
    )


def layer_table(profile: NetworkProfile, conventions: Sequence[str] = HEADLINES) -> TextTable:
    """Returns costs by layer, in order of execution."""
    return TextTable(
        title=f"{profile.marked_name}: cost by layer",
        note=_parts_note(profile),
        head=("layer", *_count_heads(conventions)),
        rows=_part_rows(profile, lambda place: (place.layer,), conventions),
        num_text=1,
    )


def totals_difference_table(profiles: Sequence[NetworkProfile]) -> TextTable:
    """Returns every convention's number for the first network, and how far the others are off."""
    labels = [profile.label for profile in profiles]
    first, *others = (profile.counts for profile in profiles)
    heads = [(f"{label}: difference", f"{label}: difference, %") for label in labels[1:]]
    return TextTable(
        title=f"Differences to {labels[0]}, by convention",
        note=f"{_difference_note(profiles)}{unknown_note(profiles)}",
        head=("convention", "unit", labels[0], *(head for pair in heads for head in pair)),
        rows=tuple(
            (
                *(name, UNITS[name], count_text(first[name])),
                *(cell for cost in others for cell in _off(first[name], cost[name])),
            )
            for name in CONVENTIONS
        ),
        num_text=2,
    )


def cost_difference_table(
    profiles: Sequence[NetworkProfile], convention: str = "macs"
) -> TextTable | None:
    """Returns where the networks' costs differ, by stage and slot.

    Args:
        profiles: The networks; None is returned if one of them has no stages and slots.
        convention: What is compared.
    """
    if any(profile.spec is None for profile in profiles):
        return None
    labels = [profile.label for profile in profiles]
    sums = [_by_stage_and_slot(profile.places) for profile in profiles]
    rows = [
        (stage, slot, *_difference_cells([_at(each, (stage, slot), convention) for each in sums]))
        for stage, slot in _merged([list(each) for each in sums])
    ]
    totals = _difference_cells([profile.cost.conventions[convention] for profile in profiles])
    return TextTable(
        title=f"Differences to {labels[0]} in {convention}, by stage and slot",
        note=f"{_difference_note(profiles)} {convention}: {convention_rule(convention)}",
        head=("stage", "slot", *_difference_heads(labels, UNITS[convention])),
        rows=(*rows, ("total", "", *totals)),
        num_text=2,
    )


def spec_difference_table(profiles: Sequence[NetworkProfile]) -> TextTable | None:
    """Returns where the networks' specs differ, None if fewer than two of them have one.

    Places at which the same stands against the same are told once, with all their addresses.
    """
    known = [profile for profile in profiles if profile.spec is not None]
    if len(known) <= 1:
        return None
    places: dict[tuple[str, ...], list[str]] = {}
    for address, values in spec_differences([each.spec for each in known if each.spec]):
        places.setdefault(tuple(map(written, values)), []).append(address)
    left_out = [profile.label for profile in profiles if profile.spec is None]
    return TextTable(
        title="Differences between the specs",
        note="Addresses at which not all networks have the same; everything else is equal. "
        "Kinds stand with their fields."
        + (f" Without a spec: {', '.join(left_out)}." if left_out else ""),
        head=("addresses", *(profile.label for profile in known)),
        rows=tuple((", ".join(addresses), *values) for values, addresses in places.items()),
        num_text=1 + len(known),
        long_columns=tuple(range(1 + len(known))),
    )


def comparing_tables(profiles: Sequence[NetworkProfile]) -> list[TextTable]:
    """Returns all tables that set networks against the first."""
    tables = [
        totals_difference_table(profiles),
        *(cost_difference_table(profiles, measure) for measure in ("macs", "params")),
        spec_difference_table(profiles),
    ]
    return [table for table in tables if table is not None]


def count_text(count: int | None) -> str:
    """Writes a count, "-" where there is none."""
    return "-" if count is None else f"{count:,}"


def unknown_note(profiles: Sequence[NetworkProfile]) -> str:
    """Says, after a space, why some conventions have no number; "" if all have."""
    unknown = [name for name in CONVENTIONS if any(each.counts[name] is None for each in profiles)]
    if not unknown:
        return ""
    return (
        f" {' and '.join(unknown)}: - where a module was recorded, since they count published "
        "code, of which only our specs know."
    )


def _head(convention: str) -> str:
    unit = UNITS[convention]
    return f"{convention}, {unit}"


def _count_heads(conventions: Sequence[str]) -> list[str]:
    heads = []
    for name in conventions:
        heads.append(_head(name))
        if name in _WITH_SHARES:
            heads.append(f"share of {name}, %")
    return heads


def _count_cells(counts: Counts, totals: Counts, conventions: Sequence[str]) -> list[str]:
    cells = []
    for name in conventions:
        cells.append(f"{counts[name]:,}")
        if name in _WITH_SHARES:
            cells.append(f"{100 * counts[name] / totals[name]:.1f}" if totals[name] else "-")
    return cells


def _part_rows(
    profile: NetworkProfile,
    key: Callable[[PlacedCost], tuple[str, ...]],
    conventions: Sequence[str],
    *,
    in_order: bool = False,
) -> tuple[tuple[str, ...], ...]:
    sums = sums_by(profile.places, key)
    names = sorted(sums) if in_order else list(sums)
    totals = profile.cost.conventions
    rows = [(*name, *_count_cells(sums[name], totals, conventions)) for name in names]
    blanks = [""] * (len(rows[0]) - len(_count_heads(conventions)) - 1 if rows else 0)
    return (*rows, ("total", *blanks, *_count_cells(totals, totals, conventions)))


def _parts_note(profile: NetworkProfile) -> str:
    return f"One image of {profile.cost.input}; parts add up to the total, shares are rounded."


def _by_stage_and_slot(places: Sequence[PlacedCost]) -> dict[tuple[str, str], Counts]:
    return sums_by(places, lambda place: (place.stage, place.slot))


def _at(sums: dict[tuple[str, str], Counts], key: tuple[str, str], convention: str) -> int:
    return sums[key][convention] if key in sums else 0


def _merged(orders: Sequence[Sequence[K]]) -> list[K]:
    """Merges orders into one in which what only some have stands after what precedes it there."""
    merged: list[K] = []
    for order in orders:
        place = 0
        for each in order:
            if each in merged:
                place = merged.index(each) + 1
            else:
                merged.insert(place, each)
                place += 1
    return merged


def _difference_note(profiles: Sequence[NetworkProfile]) -> str:
    inputs = list(dict.fromkeys(str(profile.cost.input) for profile in profiles))
    images = f"One image of {inputs[0]}" if len(inputs) == 1 else "One image each"
    warned = "" if len(inputs) == 1 else f" The inputs differ ({', '.join(inputs)}): no fair match."
    partial = " Partial numbers are too low." if any(each.is_partial for each in profiles) else ""
    return (
        f"{images}; counts and differences are exact, percentages rounded and relative to "
        f"{profiles[0].label} (- where it has none).{warned}{partial}"
    )


def _difference_heads(labels: Sequence[str], unit: str) -> list[str]:
    ending = f", {unit}"
    heads = [f"{labels[0]}{ending}"]
    for label in labels[1:]:
        heads += [f"{label}{ending}", f"difference{ending}", "difference, %"]
    return heads


def _difference_cells(values: Sequence[int]) -> list[str]:
    first = values[0]
    cells = [f"{first:,}"]
    for value in values[1:]:
        cells += [f"{value:,}", *_off(first, value)]
    return cells


def _off(first: int | None, value: int | None) -> tuple[str, str]:
    """Writes how far a value is off, exactly and in percent; "-" where one is not known."""
    if first is None or value is None:
        return "-", "-"
    if value == first:
        return "0", "0"
    relative = f"{100 * (value - first) / first:+,.1f}" if first else "-"
    return f"{value - first:+,}", relative
