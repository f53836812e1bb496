"""A report of profiles for programs: one CSV row a part, or JSON with everything."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from analysis.conventions import CONVENTIONS, convention_rule
from analysis.profile_tables import UNITS
from analysis.profiles import NetworkProfile, sums_by
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
            counts = [place.counts[name] for name in CONVENTIONS]
            writer.writerow([*known, place.stage, place.slot, place.layer, branch, *counts])
    return buffer.getvalue()


def json_report(profiles: Sequence[NetworkProfile]) -> str:
    """Returns what the command prints by layer, with rules, specs, other parts and differences."""
    data = [_data(profile) for profile in profiles]
    for profile, entry in zip(profiles[1:], data[1:], strict=True):
        entry["difference_to_first"] = _difference_data(profiles[0], profile)
    return json.dumps(data, indent=2) + "\n"


def _data(profile: NetworkProfile) -> dict[str, Any]:
    layers = sums_by(profile.places, lambda place: place.layer)
    cost = profile.cost
    data: dict[str, Any] = {
        "network": profile.name,
        "spec_id": profile.spec_id,
        "task": profile.task,
        "num_outputs": profile.spec.num_outputs if profile.spec else None,
        "input": str(cost.input),
        "params": cost.params,
        "macs": cost.macs,
        "conventions": cost.conventions,
        "is_partial": profile.is_partial,
        "uncounted": dict(profile.uncounted),
    }
    if profile.stopped_by:
        data["stopped_by"] = profile.stopped_by
    data["by"] = "layer"
    data["parts"] = [
        {
            "name": name,
            "params": counts["params"],
            "macs": counts["macs"],
            "conventions": dict(counts),
        }
        for name, counts in layers.items()
    ]
    data["rules"] = {name: convention_rule(name) for name in CONVENTIONS}
    data["units"] = UNITS
    data["places"] = [
        {
            "stage": place.stage or None,
            "slot": place.slot or None,
            "layer": place.layer,
            "branch": place.branch,
            "conventions": dict(place.counts),
        }
        for place in profile.places
    ]
    data["spec"] = None if profile.spec is None else spec_to_dict(profile.spec)
    return data


def _difference_data(first: NetworkProfile, other: NetworkProfile) -> dict[str, Any]:
    """Returns where two networks differ; a place that one does not have is null there."""
    numbers = first.cost.conventions, other.cost.conventions
    data: dict[str, Any] = {
        "network": first.name,
        "conventions": {name: numbers[1][name] - numbers[0][name] for name in CONVENTIONS},
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
