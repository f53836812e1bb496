"""A report of profiles for programs: one CSV row a part, or JSON with everything."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from analysis.conventions import CONVENTIONS, convention_rule
from analysis.cost import By
from analysis.profile_tables import UNITS
from analysis.profiles import NetworkProfile, all_conventions, parts_by, sums_by
from analysis.spec_difference import Absent, spec_differences
from networks import spec_to_dict


def csv_report(profiles: Sequence[NetworkProfile]) -> str:
    """Returns one row for every layer and branch; each column adds up to the network's number."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    head = ("network", "spec_id", "task", "num_outputs", "input", "is_partial")
    writer.writerow([*head, "stage", "slot", "layer", "branch", *CONVENTIONS])
    for profile in profiles:
        known = [
            profile.name,
            profile.spec_id or "",
            profile.task or "",
            profile.spec.num_outputs if profile.spec else "",
            profile.cost.input,
            str(profile.is_partial).lower(),
        ]
        for place in profile.places:
            branch = "" if place.branch is None else place.branch
            counts = [place.counts.get(name, "") for name in CONVENTIONS]
            writer.writerow([*known, place.stage, place.slot, place.layer, branch, *counts])
    return buffer.getvalue()


def json_report(profiles: Sequence[NetworkProfile]) -> str:
    """Returns what the command prints by layer, with rules, specs, other parts and differences."""
    data = [_report_data(profile) for profile in profiles]
    for profile, entry in zip(profiles[1:], data[1:], strict=True):
        entry["difference_to_first"] = _difference_data(profiles[0], profile)
    return json.dumps(data, indent=2) + "\n"


def profile_data(profile: NetworkProfile, by: By | None = None) -> dict[str, Any]:
    """Returns a profile as plain data.

    Args:
        profile: The profile.
        by: Into which parts it is broken down; None leaves them out.
    """
    cost = profile.cost
    data: dict[str, Any] = {
        "network": profile.name,
        "spec_id": profile.spec_id,
        "task": profile.task,
        "num_outputs": profile.spec.num_outputs if profile.spec else None,
        "input": str(cost.input),
        "params": cost.params,
        "macs": cost.macs,
        "conventions": profile.counts,
        "is_partial": profile.is_partial,
        "uncounted": dict(profile.uncounted),
    }
    if profile.stopped_by:
        data["stopped_by"] = profile.stopped_by
    if profile.notes:
        data["notes"] = list(profile.notes)
    if profile.memory is not None:
        data["memory"] = profile.memory.data
    if by is not None:
        data["by"] = by.value
        data["parts"] = [
            {
                "name": part.name,
                "params": part.params,
                "macs": part.macs,
                "conventions": all_conventions(part.conventions),
            }
            for part in parts_by(profile, by)
        ]
    return data


def _report_data(profile: NetworkProfile) -> dict[str, Any]:
    data = profile_data(profile, By.LAYER)
    data["rules"] = {name: convention_rule(name) for name in CONVENTIONS}
    data["units"] = UNITS
    data["places"] = [
        {
            "stage": place.stage or None,
            "slot": place.slot or None,
            "layer": place.layer,
            "branch": place.branch,
            "conventions": all_conventions(place.counts),
        }
        for place in profile.places
    ]
    data["spec"] = None if profile.spec is None else spec_to_dict(profile.spec)
    return data


def _difference_data(first: NetworkProfile, other: NetworkProfile) -> dict[str, Any]:
    """Returns where two networks differ; a place that one does not have is null there."""
    data: dict[str, Any] = {
        "network": first.name,
        "conventions": {
            name: None if before is None or after is None else after - before
            for (name, before), after in zip(
                first.counts.items(), other.counts.values(), strict=True
            )
        },
        "stages": None,
        "spec": None,
    }
    if first.spec is None or other.spec is None:
        return data
    sums = [
        sums_by(each.places, lambda place: (place.stage, place.slot)) for each in (first, other)
    ]
    nothing = dict.fromkeys(CONVENTIONS, 0)
    data["stages"] = [
        {
            "stage": stage,
            "slot": slot,
            "conventions": {
                name: sums[1].get((stage, slot), nothing)[name]
                - sums[0].get((stage, slot), nothing)[name]
                for name in CONVENTIONS
            },
        }
        for stage, slot in dict.fromkeys((*sums[0], *sums[1]))
    ]
    data["spec"] = [
        {
            "address": address,
            "first": None if isinstance(before, Absent) else before,
            "this": None if isinstance(after, Absent) else after,
        }
        for address, (before, after) in spec_differences([first.spec, other.spec])
    ]
    return data
